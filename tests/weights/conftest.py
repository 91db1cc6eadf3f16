"""The tiny architectures are here too."""

from __future__ import annotations

from ..encoders.conftest import _architectures

__all__ = ["_architectures"]
