"""The preset of the published evaluations."""

from __future__ import annotations

import pytest
import torch

from textregion import UserError, published
from textregion.options import PRESETS, Task
from textregion.weights import load_parts, load_text_bank


def test_sam2_ran_in_bf16_on_a_gpu_except_for_reasoning() -> None:
    on_cuda = {task: published.sam2_dtype(task, torch.device("cuda:1")) for task in PRESETS}  # type: ignore[arg-type]
    assert on_cuda == {"demo": "bf16", "semantic": "bf16", "referring": "bf16", "reasoning": "fp32"}
    assert {published.sam2_dtype(task, torch.device("cpu")) for task in PRESETS} == {"fp32"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "dtypes"),
    [
        ({}, ("fp32", "fp32")),
        ({"dtype": "bf16"}, ("bf16", "bf16")),
        ({"sam2_dtype": "bf16"}, ("fp32", "bf16")),
        ({"dtype": "bf16", "sam2_dtype": "fp32"}, ("bf16", "fp32")),
        ({"published": True}, ("fp32", "bf16")),
        ({"published": True, "dtype": "fp32"}, ("fp32", "fp32")),
        ({"published": True, "sam2_dtype": "fp32"}, ("fp32", "fp32")),
        ({"published": True, "task": "reasoning"}, ("fp32", "fp32")),
    ],
)
def test_precisions_of_the_two_models(
    asked: dict[str, str], dtypes: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_cuda(task: Task, _: torch.device) -> str:
        return real(task, torch.device("cuda"))

    real = published.sam2_dtype
    monkeypatch.setattr(published, "sam2_dtype", on_cuda)
    parts = load_parts(device="cpu", **asked)  # type: ignore[arg-type]
    assert (parts.precision.dtype, parts.mask_generator.precision.dtype) == dtypes
    assert parts.options.antialias is ("published" not in asked)


def test_templates_reach_both_kinds_of_text_banks() -> None:
    assert load_parts(device="cpu").text.templates.setting == "imagenet"
    assert load_parts(device="cpu", templates=["a {}"]).text.templates.texts == ("a {}",)
    assert load_text_bank(device="cpu", templates="simple").templates.setting == "simple"
    for load in (load_parts, load_text_bank):
        with pytest.raises(UserError, match="neither imagenet"):
            load(device="cpu", templates="a {}")  # type: ignore[operator]


def test_what_is_given_goes_over_the_preset_and_that_over_the_tasks() -> None:
    plain = load_parts(device="cpu", task="referring").options
    assert load_parts(device="cpu", task="referring", published=True).options == plain.replace(antialias=False)
    given = {"antialias": True, "min_size": 7}
    assert load_parts(device="cpu", task="referring", published=True, options=given).options == plain.replace(**given)
