"""Weights are found wherever trainers put them, under the names that the model has for them."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest
import torch
from torch import Tensor

from textregion.checkpoints.state_dicts import find_weights, unwrapped

STATE = {"visual.proj": torch.tensor([1.0]), "text.proj": torch.tensor([2.0]), "logit_scale": torch.tensor(3.0)}
AVERAGE = {name: value + 10 for name, value in STATE.items()}


def _under(prefix: str, state: dict[str, Tensor] = STATE) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def _same(found: dict[str, Tensor], expected: dict[str, Tensor] = STATE) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


FORMS: dict[str, Any] = {
    "bare": STATE,
    "state_dict": {"epoch": 1, "state_dict": STATE},
    "model": {"model": STATE, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}},
    "model_state_dict": {"model_state_dict": STATE, "loss": torch.tensor(0.5)},
    "DataParallel": {"state_dict": _under("module.")},
    "torch.compile": _under("_orig_mod."),
    "both": {"model": _under("module._orig_mod.")},
    "the other way round": _under("_orig_mod.module."),
    "a part that was compiled": {"visual._orig_mod.proj": STATE["visual.proj"], **{
        name: STATE[name] for name in ("text.proj", "logit_scale")}},
    "fully sharded": _under("_fsdp_wrapped_module."),
    "Lightning": {"state_dict": _under("model."), "pytorch-lightning_version": "2.4", "loops": {"fit_loop": {}}},
    "an attribute of a trainer's": {"state_dict": _under("clip_model.")},
    "two deep": {"checkpoint": {"state_dict": _under("module.")}},
    "a name of one's own": {"my_clip": STATE, "step": 4},
    "the average alone": {"ema": _under("module."), "step": 4},
    "PyTorch's averaged model": {"n_averaged": torch.tensor(7), **_under("module.")},
    "the optimiser of more tensors": {
        "optimizer": {str(index): torch.zeros(1) for index in range(99)}, "weights": STATE
    },
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_found(form: str) -> None:
    tensors, _ = find_weights(FORMS[form])
    assert _same(tensors)


def test_the_models_own_weights_go_before_their_average(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        tensors, _ = find_weights({"state_dict_ema": AVERAGE, "state_dict": STATE})
    assert _same(tensors)
    assert "the model's own are taken" in caplog.text


def test_numbers_among_the_tensors_are_metadata() -> None:
    tensors, numbers = find_weights({**STATE, "input_resolution": 224, "vocab_size": 49408})
    assert _same(tensors)
    assert numbers == {"input_resolution": 224, "vocab_size": 49408}


def test_a_part_of_a_model_keeps_its_name() -> None:
    part = {"visual.proj": torch.zeros(1), "visual.conv1.weight": torch.zeros(1)}
    assert unwrapped(part).keys() == part.keys()


@pytest.mark.parametrize(
    "content", [None, 3, [], {}, {"model": {"weight": 3}}, {1: torch.zeros(2)}, {"optimizer": STATE}]
)
def test_where_there_is_none_nothing_is_found(content: object) -> None:
    assert find_weights(content) == ({}, {})


OWN = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params")
AVERAGED = ("model_ema", "state_dict_ema", "ema_state_dict", "ema_model", "ema")
OTHER = {name: value - 5 for name, value in STATE.items()} | {"more": torch.zeros(1)}


@pytest.mark.parametrize("name", OWN)
def test_a_usual_name_goes_before_others_of_more_tensors_and_before_every_average(name: str) -> None:
    assert _same(find_weights({"another": OTHER, name: STATE})[0])
    for average in AVERAGED:
        assert _same(find_weights({average: {**AVERAGE, **_under("more.")}, name: STATE})[0])


def test_of_two_usual_names_the_first_is_taken() -> None:
    for first, second in itertools.pairwise(OWN):
        assert _same(find_weights({second: OTHER, first: STATE})[0])


@pytest.mark.parametrize("name", AVERAGED)
def test_an_average_is_known_by_its_name_and_taken_where_it_is_alone(name: str) -> None:
    assert _same(find_weights({name: AVERAGE, "another": STATE})[0])
    assert _same(find_weights({name: AVERAGE})[0], AVERAGE)


@pytest.mark.parametrize("name", ["optim", "Optimizer", "lr_scheduler", "grad_scaler", "rng_states", "losses"])
def test_what_else_a_trainer_keeps_is_never_taken(name: str) -> None:
    assert find_weights({name: STATE}) == ({}, {})


@pytest.mark.parametrize(
    "name",
    ["visual", "vision_model", "vision_encoder", "image_encoder", "trunk", "text", "text_model", "transformer"],
)
def test_a_tower_alone_keeps_its_name(name: str) -> None:
    part = {f"{name}.weight": torch.zeros(1), f"{name}.block.bias": torch.ones(1)}
    assert unwrapped(part).keys() == part.keys()
    assert unwrapped(_under("wrapped.", part)).keys() == part.keys()
    assert unwrapped({name: torch.zeros(1)}).keys() == {name}


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 4])
def test_weights_are_looked_for_three_names_deep(depth: int) -> None:
    content: Any = STATE
    for number in range(depth):
        content = {f"level{number}": content}
    assert bool(find_weights(content)[0]) == (depth <= 3)
