"""Every recorded stage, and the command that compares them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.parity.__main__ import HERE, main
from tests.parity.compare import CaseRun, compare

CASES = sorted(path.parent for path in HERE.glob("*/case.json"))


def test_all_recorded_cases_are_here() -> None:
    tasks = [json.loads((case / "case.json").read_text())["task"] for case in CASES]
    assert {task: tasks.count(task) for task in set(tasks)} == {"demo": 6, "semantic": 8, "reason": 1}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_recorded_stages(case: Path) -> None:
    rows = compare(case, HERE / "weights")
    assert {row.stage for row in rows} >= set(load_file(case / "expected.safetensors"))
    assert not [str(row) for row in rows if not row.ok]


def test_a_changed_recording_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = tmp_path / "changed"
    shutil.copytree(HERE / "demo_clip", case)
    recorded = load_file(case / "expected.safetensors")
    recorded["pool.tokens_or_logits"][0, 0, 0] += 0.01
    recorded["out.pred"] = recorded["out.pred"][:, :-1]
    save_file(recorded, case / "expected.safetensors")
    assert main([str(case)]) == 1
    failed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.endswith("FAIL")]
    assert sorted(failed) == ["out.pred", "pool.tokens_or_logits"]


def test_a_folder_without_a_case_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_settings_of_a_case_reach_the_options() -> None:
    options = CaseRun(HERE / "semantic_clip_cityscapes", HERE / "weights").options
    assert options.global_views == 2
    assert options.points_per_side == 12
    assert options.mask_size == "original"
