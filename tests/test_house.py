"""The rules of the house: which way imports point, and what the library leaves alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import textregion

ROOT = Path(__file__).parent.parent
LIBRARY = sorted((ROOT / "textregion").rglob("*.py"))
OPENMMLAB = {"mmcv", "mmseg", "mmengine"}


def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def _names(path: Path) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_library_stands_alone(path: Path) -> None:
    assert not _imported(path) & ({"eval", "utils", "configs", "benchmarks", "tests"} | OPENMMLAB)
    assert not _names(path) & {"print", "eval", "exec"}
    text = path.read_text()
    assert ".cuda(" not in text
    assert path.name == "visualize.py" or "matplotlib" not in text


def test_utils_and_eval_do_not_import_the_scripts() -> None:
    scripts = {path.stem for path in ROOT.glob("*.py")}
    assert {"TextRegionSegmenter", "eval_semantic", "eval_referring", "eval_reason_seg", "eval_all_semantic"} <= scripts
    for path in [*(ROOT / "eval").rglob("*.py"), *(ROOT / "utils").rglob("*.py")]:
        assert not _imported(path) & scripts, path


def test_importing_the_library_loads_no_plots_and_no_openmmlab() -> None:
    code = (
        "import sys, torch; before = torch.get_num_threads(); import textregion; "
        "assert torch.get_num_threads() == before and torch.is_grad_enabled(); "
        f"print(sorted(set(sys.modules) & {OPENMMLAB | {'matplotlib'}!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_documented() -> None:
    for name in textregion.__all__:
        if name != "__version__":
            assert getattr(textregion, name).__doc__, name


def test_the_tree_that_is_fixed() -> None:
    fixed = (
        "TextRegionSegmenter.py eval_semantic.py eval_all_semantic.py eval_referring.py eval_reason_seg.py configs "
        "utils eval process_dataset.sh setup_env.sh assets README.md LICENSE"
    )
    assert [name for name in fixed.split() if not (ROOT / name).exists()] == []
