"""Compare recorded stages with ours: ``python -m tests.parity CASE_DIR [CASE_DIR ...] --weights DIR``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .compare import compare

HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """Print the table of every case; 1 where any row failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("cases", nargs="*", type=Path, metavar="CASE_DIR", help="recorded cases (default: all bundled)")
    parser.add_argument("--weights", type=Path, default=HERE / "weights", help="folder of the tiny models' weights")
    args = parser.parse_args(arguments)
    cases = args.cases or sorted(path.parent for path in HERE.glob("*/case.json"))
    failed = 0
    for case in cases:
        if not (case / "case.json").is_file():
            print(f"{case} holds no case.json: give the folder of a recorded case.", file=sys.stderr)
            return 2
        print(case.name)
        for row in compare(case, args.weights):
            print(row)
            failed += not row.ok
    print(f"{failed} rows failed" if failed else f"all rows of {len(cases)} cases ok")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
