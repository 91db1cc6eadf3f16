"""A model's digest is that of its values: all of them count, and nothing else."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from textregion.checkpoints.digests import sha256, weights_digest


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(300, 400), nn.BatchNorm1d(400))


def test_the_same_values_have_the_same_digest_in_every_precision_and_layout() -> None:
    half = _model().half()
    digest = weights_digest(half)
    assert weights_digest(copy.deepcopy(half).float()) == digest
    turned = copy.deepcopy(half)
    turned[0].weight.data = turned[0].weight.data.t().contiguous().t()
    assert not turned[0].weight.is_contiguous()
    assert weights_digest(turned) == digest


@pytest.mark.parametrize("index", [0, 1, 59_999, 77_777, 119_999])
def test_a_single_value_changes_it(index: int) -> None:
    model = _model()
    before = weights_digest(model)
    flat = model[0].weight.data.view(-1)
    flat[index] = flat[index].nextafter(torch.tensor(1e9))
    assert weights_digest(model) != before


def test_places_names_and_shapes_change_it() -> None:
    model = _model()
    digests = {weights_digest(model)}
    swapped = _model()
    swapped[0].weight.data[[3, 4]] = swapped[0].weight.data[[4, 3]]
    reshaped = nn.Module()
    reshaped.weight = nn.Parameter(torch.zeros(2, 3))
    other_shape, other_name = nn.Module(), nn.Module()
    other_shape.weight = nn.Parameter(torch.zeros(3, 2))
    other_name.bias = nn.Parameter(torch.zeros(2, 3))
    digests |= {weights_digest(each) for each in (swapped, reshaped, other_shape, other_name)}
    assert len(digests) == 5


def test_the_order_of_modules_does_not() -> None:
    first, second = nn.Module(), nn.Module()
    for module, names in ((first, "ab"), (second, "ba")):
        for name in names:
            setattr(module, name, nn.Parameter(torch.full((2,), float(ord(name)))))
    assert weights_digest(first) == weights_digest(second)


def test_a_files_digest_is_of_all_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000  # more than is read at a time
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
