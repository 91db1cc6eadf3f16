"""TorchScript archives: their tensors are taken, and nothing in them runs."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from textregion import UserError
from textregion.checkpoints.reading import read_checkpoint

from .openai_format import OpenAIClip, save_archive

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:The TorchScript type system"),
]


class _Loud(nn.Module):
    """A scripted module whose code runs when it is loaded: it writes a file."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(3.0))
        self.mark = mark

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, str]:
        return self.weight, self.mark

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, str]) -> None:
        self.training = False
        self.weight, self.mark = state
        torch.save(state[0], state[1])


def test_an_archive_in_float16_gives_every_parameter_and_buffer(tmp_path: Path) -> None:
    model = OpenAIClip()
    scripted = save_archive(model, tmp_path / "clip.pt")
    checkpoint = read_checkpoint(tmp_path / "clip.pt")
    expected = {k: v for k, v in scripted.state_dict().items() if k not in checkpoint.metadata}
    assert checkpoint.metadata == {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
    assert checkpoint.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(checkpoint.tensors[name], tensor) and checkpoint.tensors[name].dtype == tensor.dtype
    assert checkpoint.tensors["visual.conv1.weight"].dtype == torch.float16
    assert checkpoint.tensors["ln_final.weight"].dtype == torch.float32


class _Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))
        self.transposed = nn.Parameter(self.weight.data.t())
        self.tied = self.weight
        self.flags = torch.tensor([True, False])
        self.empty = torch.empty(0, 4)
        self.sizes = [1, 2, 3]
        self.rates = {"a": 0.5}
        self.name = "mixed"
        self.inner = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_views_shared_values_lists_and_nested_modules(tmp_path: Path) -> None:
    model = _Mixed()
    torch.jit.script(model).save(str(tmp_path / "mixed.pt"))
    tensors = read_checkpoint(tmp_path / "mixed.pt").tensors
    assert torch.equal(tensors["weight"], model.weight) and torch.equal(tensors["tied"], model.weight)
    assert torch.equal(tensors["transposed"], model.weight.t())
    assert tensors["flags"].tolist() == [True, False] and tensors["empty"].shape == (0, 4)
    assert torch.equal(tensors["inner.1.bias"], model.inner[1].bias)


def test_code_that_runs_when_a_module_is_loaded_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.jit.script(_Loud(str(mark))).save(str(tmp_path / "loud.pt"))
    with pytest.raises(UserError, match=r"loud\.pt' (holds no model weights|is a TorchScript archive)"):
        read_checkpoint(tmp_path / "loud.pt")
    assert not mark.exists()
    torch.jit.load(tmp_path / "loud.pt")
    assert mark.exists()  # the bait is one


class _Calls:
    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def _archive(path: Path, content: bytes, **files: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", content)
        archive.writestr("evil/constants.pkl", pickle.dumps(()))
        archive.writestr("evil/code/__torch__.py", "import os")
        for name, value in files.items():
            archive.writestr(f"evil/data/{name}", value)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_in_an_archive_that_would_run_code_is_refused(protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    _archive(tmp_path / "evil.pt", pickle.dumps({"weight": _Calls(Path.touch, mark)}, protocol))
    with pytest.raises(
        UserError, match=r"without running its code \(it holds .*torch\.jit\.load.*state_dict"
    ) as caught:
        read_checkpoint(tmp_path / "evil.pt")
    assert "download it again" not in str(caught.value)
    assert not mark.exists()


def _module(**attributes: bytes) -> bytes:
    """A pickle of a module, its attributes given as pickle code."""
    code = b"\x80\x02c__torch__.a\nB\n)\x81}("
    for name, value in attributes.items():
        code += b"X" + len(name).to_bytes(4, "little") + name.encode() + value
    return code + b"ub."


def _rebuilt(size: tuple[int, ...], stride: tuple[int, ...], key: str = "0", offset: int = 0) -> bytes:
    def whole(numbers: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"J" + number.to_bytes(4, "little", signed=True) for number in numbers) + b"t"

    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00" + key.encode()
    storage += b"X\x03\x00\x00\x00cpuK\x04tQ"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage + b"K" + bytes([offset]) + whole(size) + whole(stride) + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def test_the_handwritten_pickle_is_a_module(tmp_path: Path) -> None:
    _archive(tmp_path / "m.pt", _module(weight=_rebuilt((2, 2), (2, 1))), **{"0": torch.arange(4.0).numpy().tobytes()})
    assert read_checkpoint(tmp_path / "m.pt").tensors["weight"].tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    "tensor",
    [
        _rebuilt((2, 3), (3, 1)),
        _rebuilt((2, 2), (2, 1), offset=1),
        _rebuilt((2, 2), (-2, 1)),
        _rebuilt((4,), (1,), key="9"),
        b"cos\nsystem\nX\x02\x00\x00\x00ls\x85R",
        b"c__torch__.a\nB\n(tR}X\x0c\x00\x00\x00__setstate__N\x86b",
    ],
    ids=["beyond", "beyond by an offset", "before", "no such storage", "a system call", "a class written to"],
)
def test_tensors_that_are_none_are_refused(tensor: bytes, tmp_path: Path) -> None:
    _archive(tmp_path / "m.pt", _module(weight=tensor), **{"0": torch.arange(4.0).numpy().tobytes()})
    with pytest.raises(UserError, match=r"m\.pt"):
        read_checkpoint(tmp_path / "m.pt")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_a_cut_archive_is_to_be_downloaded_again(share: float, tmp_path: Path) -> None:
    content = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(20, 20)), content)
    whole = content.getvalue()
    (tmp_path / "cut.pt").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match="download it again"):
        read_checkpoint(tmp_path / "cut.pt")
