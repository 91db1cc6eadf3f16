"""CUDA and Apple's backend played on a CPU: what their tensors refuse is refused here.

A tensor is on the played device if its memory is marked so; results of marked tensors are marked, and so are tensors
that are made with that device's name. Marked and other tensors may not meet, as on a GPU. Apple's backend has neither
float64 nor the resizing that PyTorch 2.5 lacks for it, and of equal values the last is the largest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map_only

_CPU = torch.device("cpu")
_MARKS: dict[str, dict[int, StorageWeakRef]] = {}
"""By the device's name: what is remembered of one machine, such as weights of resizing, is good for the next."""
_PLAIN = ("cpu", "tolist", "item", "__bool__", "__int__", "__float__", "__index__", "__len__", "__repr__", "__format__")
"""What may be done with tensors of any device, and gives what lies on none."""
_REFUSED = ("numpy", "__array__", "__dlpack__")
_TAKES_OTHERS = ("copy_", "data.__set__", "_has_compatible_shallow_copy_type")


@contextlib.contextmanager
def played(name: str) -> Iterator[torch.device]:
    """A machine that has a device of that name, ``cuda`` or ``mps``."""
    with (
        mock.patch("torch.cuda.is_available", return_value=name == "cuda"),
        mock.patch("torch.cuda.device_count", return_value=int(name == "cuda")),
        mock.patch("torch.cuda.is_bf16_supported", return_value=True),
        mock.patch("torch.cuda.synchronize"),
        mock.patch("torch.backends.mps.is_available", return_value=name == "mps"),
        mock.patch("torch.backends.mps.is_macos_or_newer", return_value=True, create=True),
        mock.patch("torch.mps.synchronize"),
        _Played(name),
    ):
        yield torch.device(name)


class _Played(TorchFunctionMode):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.device = torch.device(name, 0)
        self.marks = _MARKS.setdefault(name, {})

    def is_marked(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self.marks

    def mark(self, tensor: Tensor) -> Tensor:
        if tensor.dtype == torch.float64 and self.name == "mps":
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        reference = StorageWeakRef(tensor.untyped_storage())
        self.marks[reference.cdata] = reference  # held, so that its number is not given to another
        return tensor

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = _name(func)
        if name == "__deepcopy__":  # what was copied before comes along in its arguments
            copied = func(*args)
            return self.mark(copied) if self.is_marked(args[0]) else copied
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        marked = [self.is_marked(tensor) for tensor in tensors]
        if name in ("device.__get__", "is_cuda.__get__", "is_mps.__get__"):
            if name == "device.__get__":
                return self.device if marked[0] else _CPU
            return marked[0] and name.startswith(f"is_{self.name}")
        if any(marked) and name in _REFUSED:
            raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")
        if name in ("to", "cuda", "cpu") and tensors:
            return self._moved(name, args, kwargs)
        target = self._pop_device(kwargs)
        if any(marked) and name not in _TAKES_OTHERS:
            for tensor, own in zip(tensors, marked):
                if not own and tensor.ndim > 0:
                    raise RuntimeError(f"{name}: expected all tensors on one device, but found {self.device} and cpu")
        if any(marked):
            self._refuse_missing(name, args, kwargs)
        result = self._called(func, name, args, kwargs, on_device=any(marked))
        if name in _PLAIN or not (target or (any(marked) and target is None)):
            return result
        return tree_map_only(Tensor, self.mark, result)

    def _called(self, func: Any, name: str, args: Any, kwargs: Any, on_device: bool) -> Any:
        if not on_device:
            return func(*args, **kwargs)
        bf16 = torch.is_autocast_enabled(self.name) and torch.get_autocast_dtype(self.name)
        with torch.autocast("cpu", dtype=bf16 or torch.bfloat16, enabled=bool(bf16)):
            if name in ("max", "argmax") and self.name == "mps" and _along(args, kwargs) is not None:
                return _last_of_equals(func, args, kwargs)
            return func(*args, **kwargs)

    def _pop_device(self, kwargs: dict[str, Any]) -> bool | None:
        """Whether the device that is asked for is the played one; None: none is."""
        device = kwargs.get("device")
        if device is None:
            return None
        kwargs["device"] = _CPU
        return torch.device(device).type == self.name

    def _moved(self, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
        """``tensor.to(...)`` of a device, of a type, of both, or of another tensor."""
        tensor, *others = args
        on_device = {"cuda": True, "cpu": False}.get(name, self.is_marked(tensor))
        dtype = tensor.dtype
        for other in (*others, *kwargs.values()):
            if isinstance(other, Tensor):
                on_device, dtype = self.is_marked(other), other.dtype
            elif isinstance(other, torch.dtype):
                dtype = other
            elif isinstance(other, (str, torch.device)):
                on_device = torch.device(other).type == self.name
        result = tensor.to(dtype)
        if on_device == self.is_marked(tensor):
            return self.mark(result) if on_device else result
        result = result.clone() if result is tensor else result
        return self.mark(result) if on_device else result

    def _refuse_missing(self, name: str, args: Any, kwargs: dict[str, Any]) -> None:
        if self.name == "mps" and name == "interpolate":
            mode = kwargs.get("mode", args[3] if len(args) > 3 else "nearest")
            if kwargs.get("antialias") or mode == "bicubic":
                raise NotImplementedError(
                    f"The operator 'aten::upsample_{mode}2d' is not implemented for the MPS device."
                )


def _name(func: Any) -> str:
    """A function's name; of a property's getter ``<property>.__get__``."""
    name = getattr(func, "__name__", str(func))
    if name in ("__get__", "__set__"):
        return f"{func.__self__.__name__}.{name}"
    return str(name)


def _along(args: Any, kwargs: dict[str, Any]) -> int | None:
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return dim if isinstance(dim, int) else None


def _last_of_equals(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """``max`` or ``argmax`` along a dimension, of equal values the last."""
    dim = _along(args, kwargs)
    assert dim is not None
    flipped = func(args[0].flip(dim), dim)
    last = args[0].shape[dim] - 1
    if isinstance(flipped, Tensor):
        return last - flipped
    return torch.return_types.max((flipped.values, last - flipped.indices))  # type: ignore[attr-defined]
