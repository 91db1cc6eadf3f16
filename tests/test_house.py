"""The rules of the house: which way imports point, and what the library leaves alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import textregion

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path.stem for path in ROOT.glob("*.py"))
STOREYS = (("textregion",), ("utils",), ("miniatures",), ("eval",), tuple(SCRIPTS))
"""From the ground up; each may import those below it and its own."""
SOURCES = sorted(path for storey in STOREYS for name in storey for path in (ROOT / name).rglob("*.py")) + [
    ROOT / f"{name}.py" for name in SCRIPTS
]
SPEAKS = {
    ROOT / "textregion" / "interrupts.py",
    *(ROOT / "textregion" / "cli").glob("*.py"),
    *(ROOT / "textregion").rglob("__main__.py"),
}
"""The library's command lines, which nothing else of the library imports."""
OPENMMLAB = {"mmcv", "mmseg", "mmengine"}


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(path): path for path in SOURCES}


def _imported(path: Path) -> set[str]:
    """Full names of all that a file imports, also inside of functions; of ``from a import b`` both a and a.b."""
    names: set[str] = set()
    package = _module(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """The names of a circle, or nothing."""
    finished: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        for other in sorted(graph[name] - finished):
            if found := walk(other, [*way, name]):
                return found
        finished.add(name)
        return []

    return next(filter(None, (walk(name, []) for name in sorted(graph))), [])


def _names(path: Path) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path: Path) -> None:
    own = _module(path).split(".")[0]
    height = next(number for number, storey in enumerate(STOREYS) if own in storey)
    above = {name for storey in STOREYS[height + 1 :] for name in storey} | {"benchmarks", "tests"}
    assert not {name.split(".")[0] for name in _imported(path)} & above


def test_no_imports_go_round_in_a_circle() -> None:
    graph = {
        # A package's own names are those of its __init__, which imports the modules in it: that is no circle of theirs.
        name: {other for other in _imported(path) & set(MODULES) if not name.startswith(f"{other}.")} - {name}
        for name, path in MODULES.items()
    }
    assert len(graph) > 90
    assert _circle(graph) == []


def test_a_circle_would_be_found() -> None:
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert _circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "textregion").rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_the_library_stands_alone(path: Path) -> None:
    assert not {name.split(".")[0] for name in _imported(path)} & OPENMMLAB
    assert not _names(path) & {"eval", "exec"}
    if path not in SPEAKS:
        assert "print" not in _names(path) and "textregion.cli" not in _imported(path)
    text = path.read_text()
    assert ".cuda(" not in text
    assert path.name in ("fonts.py", "visualize.py") or "matplotlib" not in text


def test_no_training_lives_among_what_scripts_share() -> None:
    assert {path.stem for path in (ROOT / "utils").glob("*.py")} == {
        "__init__", "pictures", "results", "text_files"
    }  # fmt: skip


def test_importing_the_library_loads_no_plots_and_no_openmmlab() -> None:
    code = (
        "import sys, torch; before = torch.get_num_threads(); import textregion; "
        "[getattr(textregion, name) for name in textregion.__all__]; "
        "assert torch.get_num_threads() == before and torch.is_grad_enabled(); "
        f"print(sorted(set(sys.modules) & {OPENMMLAB | {'matplotlib'}!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_package_alone_loads_no_pytorch() -> None:
    code = (
        "import sys, textregion; print('torch' in sys.modules); textregion.RegionTokens; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_public_names_are_documented() -> None:
    assert set(textregion.__all__) == {"__version__", *textregion._HOME}
    for name in textregion.__all__:
        if name != "__version__":
            assert getattr(textregion, name).__doc__, name


def test_the_tree_that_is_fixed() -> None:
    fixed = (
        "TextRegionSegmenter.py eval_semantic.py eval_all_semantic.py eval_referring.py eval_reason_seg.py configs "
        "utils eval process_dataset.sh setup_env.sh assets README.md LICENSE"
    )
    assert [name for name in fixed.split() if not (ROOT / name).exists()] == []
