"""TorchScript archives, such as OpenAI's own CLIP files: their tensors, and none of the code beside them."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_STORAGES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
}


class NotOnlyTensors(ValueError):
    """An archive that holds what is neither module, tensor, number nor plain container; its text names it."""


class _Module:
    """What stands for a scripted module: its attributes, and nothing of its class."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        self.attributes = state if isinstance(state, dict) else {}


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive of ``torch.jit.save``."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
    return "data.pkl" in names and ("constants.pkl" in names or any(name.startswith("code/") for name in names))


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """The parameters and buffers of the module in an archive by name.

    Raises:
        NotOnlyTensors: it holds more than modules, tensors, numbers and plain containers.
        Exception: of many kinds, where it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl"))[: -len("data.pkl")]
        module = _Unpickler(archive, root).load()
    if not isinstance(module, _Module):
        raise NotOnlyTensors("no module at its top")
    return dict(_tensors(module, ""))


def _tensors(module: _Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, value in module.attributes.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Module):
            yield from _tensors(value, f"{prefix}{name}.")


class _Unpickler(pickle.Unpickler):
    """Reads a module's attributes; of all that a pickle can name, only what follows is there."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")))
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        # Made anew each time, as a pickle may also write to what it is given.
        if module == "__torch__" or module.startswith("__torch__."):
            return type("Module", (_Module,), {})
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): lambda *items: OrderedDict(*items),
            ("torch._utils", "_rebuild_tensor_v2"): lambda *facts: _tensor(*facts[:4]),
            ("torch.jit._pickle", "restore_type_tag"): lambda value, tag: value,
            **{("torch.jit._pickle", f"build_{kind}list"): lambda values: values for kind in _LISTS},
        }
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) not in known:
            raise NotOnlyTensors(f"{module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: Any) -> Tensor:
        """A storage of the archive, as a vector."""
        _, dtype, key, *_ = pid
        if key not in self._storages:
            content = bytearray(self._archive.read(f"{self._root}data/{key}"))
            empty = torch.empty(0, dtype=dtype)
            self._storages[key] = torch.frombuffer(content, dtype=dtype) if content else empty
        return self._storages[key]


_LISTS = ("int", "double", "bool", "tensor")


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """A view of a storage; PyTorch refuses one that reaches beyond it."""
    return torch.as_strided(storage, size, stride, offset)
