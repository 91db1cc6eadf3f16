"""MMSegmentation's IoUMetric on counts that are kept, picture by picture, as they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from eval.shared.processes import Processes
from eval.shared.records import Record
from eval.shared.work_dir import WorkDir
from textregion import UserError

Totals = tuple[Tensor, Tensor, Tensor, Tensor]
"""Intersection, union, predicted and labelled pixels of every class, each (classes,) float64 holding whole numbers."""
Sketch = Callable[[Mapping[str, Any]], None]
"""Draws a data sample."""


@METRICS.register_module()
class RecordedIoUMetric(IoUMetric):
    """IoUMetric whose per-picture pixel counts go to a work dir, and whose result is made from what is there.

    The counts are whole numbers and are summed as such, so that the result depends neither on the order of the pictures
    nor on the number of processes nor on interruptions.

    Args:
        work: where the counts are kept.
        processes: those of the run.
        keys: of the records of every picture of the data set (with ``--limit``, of its part), by its path.
        sketch: called with every data sample before it counts as done.
        arguments: IoUMetric's own.
    """

    default_prefix = ""  # MMEngine warns where there is none

    def __init__(
        self,
        work: WorkDir,
        processes: Processes,
        keys: Mapping[str, str],
        sketch: Sketch | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self._work, self._processes = work, processes
        self._keys, self._sketch = keys, sketch

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Keep the counts of predictions."""
        for sample in data_samples:
            key = self._keys[sample["img_path"]]
            if self._sketch is not None:
                self._sketch(sample)
            if key not in self._work:
                self._work.append(key, self._count(sample))

    def evaluate(self, size: int) -> dict[str, Any]:
        """The metrics of the whole data set in the first process, once all are done; nothing in the others."""
        self._processes.barrier()
        if self._processes.rank > 0:
            return {}
        records = self._work.collect()
        absent = [path for path, key in self._keys.items() if key not in records]
        if absent:
            raise UserError(
                f"{len(absent)} pictures have no result (first {absent[0]!r}): start the same command again."
            )
        return self.results_of([records[key] for key in self._keys.values()])

    def results_of(self, records: Sequence[Record]) -> dict[str, Any]:
        """mIoU, aAcc and mAcc in percent, IoU and Acc of every class, and the time of every stage for a picture."""
        totals = self._sum(records)
        metrics = {name: float(value) for name, value in self.compute_metrics([totals]).items()}
        by_class = self.total_area_to_metrics(*totals, self.metrics, self.nan_to_num, self.beta)
        columns = {name: np.round(by_class[name] * 100, 2).tolist() for name in ("IoU", "Acc")}
        names = self.dataset_meta["classes"]
        per_class = {name: {key: column[index] for key, column in columns.items()} for index, name in enumerate(names)}
        return {**metrics, "per_class": per_class, "timing": {"seconds_per_picture": _mean_seconds(records)}}

    def _count(self, sample: Mapping[str, Any]) -> Record:
        """Pixel counts of one picture, of the classes that occur in it."""
        predicted = sample["pred_sem_seg"]["data"].squeeze(0)
        labelled = sample["gt_sem_seg"]["data"].squeeze(0).to(predicted)
        classes = len(self.dataset_meta["classes"])
        areas = self.intersect_and_union(predicted, labelled, classes, self.ignore_index)
        occurs = torch.nonzero(areas[1] > 0).flatten()
        named = zip(("intersection", "union", "predicted", "labelled"), areas)
        counts = {name: area[occurs].long().tolist() for name, area in named}
        return {"classes": occurs.tolist(), **counts, "seconds": sample.get("stage_seconds", {})}

    def _sum(self, records: Sequence[Record]) -> Totals:
        totals = np.zeros((4, len(self.dataset_meta["classes"])), dtype=np.int64)
        for record in records:
            counts = [record[name] for name in ("intersection", "union", "predicted", "labelled")]
            totals[:, record["classes"]] += np.array(counts, dtype=np.int64)
        intersection, union, predicted, labelled = torch.from_numpy(totals).double()
        return intersection, union, predicted, labelled


def _mean_seconds(records: Sequence[Record]) -> dict[str, float]:
    """Seconds of every stage for a picture, and their sum."""
    stages = {stage: 0.0 for record in records for stage in record["seconds"]}
    means = {stage: sum(record["seconds"].get(stage, 0.0) for record in records) / len(records) for stage in stages}
    return {**{stage: round(seconds, 4) for stage, seconds in means.items()}, "all": round(sum(means.values()), 4)}
