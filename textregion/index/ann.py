"""An approximate index for more regions than are scanned quickly: a Lance table in ``cache/``, made when asked for.

Text lies far from the vectors that such an index is tuned on, so that settings which find nearly all regions for a
region lose a fifth of them for a word. The settings here are for words; ``textregion status --check`` reports both.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..errors import UserError, reason_of
from ..files import write_bytes
from .table import Bools, Table

logger = logging.getLogger(__name__)

PROBES = 100
"""Partitions that are looked into."""
REFINE = 50
"""Times as many regions as are asked for are compared in full; at 10, recall for words falls from 0.95 to 0.85."""
_LEAST_ROWS = 5_000
"""Below, the table is scanned: there is too little to train partitions on."""
_BATCH_ROWS = 20_000
_NAME = "regions"


class Approximate:
    """The Lance table of an index's living regions.

    Args:
        folder: where it is kept.
        table: the index as it is now; the table is made anew where it was made of another state.

    Raises:
        UserError: lancedb is not installed, or the table cannot be made.
    """

    def __init__(self, folder: Path, table: Table) -> None:
        lancedb = _lancedb()
        state, stamp = _state(table), folder / "state"
        try:
            made_of = stamp.read_text(encoding="ascii") if stamp.exists() else ""
            if made_of != state:
                shutil.rmtree(folder, ignore_errors=True)
                _make(lancedb, folder, table)
                write_bytes(stamp, state.encode())
            self._rows = lancedb.connect(str(folder)).open_table(_NAME)
        except UserError:
            raise
        except Exception as error:  # Lance's client raises errors of many libraries; all mean the same to a user
            raise UserError(
                f"The approximate index {str(folder)!r} cannot be made or read ({reason_of(error)}): delete it, or "
                "search without --ann."
            ) from None
        self._table = table

    def candidates(self, question: Tensor, eligible: Bools, count: int) -> npt.NDArray[np.int64]:
        """Regions with high products, in no order; of eligible pictures only, so that there may be fewer.

        Args:
            question: (D,).
            eligible: (P,) which pictures may be answers.
            count: how many are asked for.
        """
        query = self._rows.search(question.numpy()).distance_type("dot").nprobes(PROBES).refine_factor(REFINE)
        found = query.limit(count).select(["region", "_distance"]).to_arrow()
        regions = np.sort(found["region"].to_numpy().astype(np.int64))
        return regions[eligible[self._table.picture_of(regions)]]


def _lancedb() -> Any:
    try:
        return importlib.import_module("lancedb")
    except ImportError:
        raise UserError("--ann needs the package lancedb: pip install 'textregion[search]'.") from None


def _state(table: Table) -> str:
    """Digest of the parts and of what is alive in them."""
    digest = hashlib.sha256(table.alive.tobytes())
    for one in table.catalogue.loaded:
        digest.update(one.part.name.encode())
    return digest.hexdigest()


def _make(lancedb: Any, folder: Path, table: Table) -> None:
    pyarrow, index = importlib.import_module("pyarrow"), importlib.import_module("lancedb.index")
    size, count = table.mean.shape[0], int(table.alive_regions.sum())
    logger.info("Making an approximate index of %d regions.", count)
    vector = pyarrow.list_(pyarrow.float16(), size)
    schema = pyarrow.schema([("region", pyarrow.int64()), ("vector", vector)])

    def batches() -> Iterator[Any]:
        for regions, tokens in table.living_tokens(_BATCH_ROWS):
            values = pyarrow.array(tokens.numpy().reshape(-1))
            columns = [pyarrow.array(regions), pyarrow.FixedSizeListArray.from_arrays(values, size)]
            yield pyarrow.record_batch(columns, schema=schema)

    folder.mkdir(parents=True, exist_ok=True)
    reader = pyarrow.RecordBatchReader.from_batches(schema, batches())
    rows = lancedb.connect(str(folder)).create_table(_NAME, data=reader, mode="overwrite")
    if count >= _LEAST_ROWS:
        rows.create_index("vector", config=index.IvfRq(distance_type="dot"))
