"""What the faults that were tried say, by module and by operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

Entry = Mapping[str, Any]
NOTICED = ("killed", "out of time")


def read_listed(path: Path) -> dict[str, str]:
    """Keys of the faults that change nothing, with the reason."""
    listed: dict[str, str] = {}
    for why, keys in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).items():
        listed |= dict.fromkeys(keys, why)
    return listed


def report(entries: Iterable[Entry], listed: Mapping[str, str]) -> str:
    """Tables of noticed and tried, and every fault that is neither noticed nor listed."""
    tried = list(entries)
    lines = [*_table("module", tried, "path", listed), "", *_table("operator", tried, "operator", listed), ""]
    open_ones = [entry for entry in tried if entry["verdict"] not in NOTICED and entry["key"] not in listed]
    lines += [f"{entry['verdict']}: {entry['key']}" for entry in sorted(open_ones, key=lambda entry: entry["key"])]
    return "\n".join(lines)


def _table(title: str, tried: list[Entry], by: str, listed: Mapping[str, str]) -> list[str]:
    names = sorted({entry[by] for entry in tried})
    width = max(len(name) for name in ("of all", title, *names))
    lines = [f"{title:<{width}}{'tried':>7}{'noticed':>9}{'listed':>8}{'open':>6}{'noticed %':>11}"]
    for name in [*names, "of all"]:
        chosen = [entry for entry in tried if name in ("of all", entry[by])]
        counts = Counter(_kind(entry, listed) for entry in chosen)
        share = 100 * counts["noticed"] / len(chosen) if chosen else 0.0
        figures = f"{len(chosen):>7}{counts['noticed']:>9}{counts['listed']:>8}{counts['open']:>6}{share:>11.1f}"
        lines.append(f"{name:<{width}}{figures}")
    return lines


def _kind(entry: Entry, listed: Mapping[str, str]) -> str:
    if entry["verdict"] in NOTICED:
        return "noticed"
    return "listed" if entry["key"] in listed else "open"
