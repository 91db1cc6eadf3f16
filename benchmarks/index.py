"""How quick and how large an index of regions is, and how well words find pictures in one.

Speed is measured on made vectors in real parts: clusters around a mean, and questions that lie among them (regions) or
far from them (words), as a CLIP's do. Every figure stands beside a plain product in float32 of the same run.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from textregion import RegionIndex, RegionMasks, RegionTokens, SegmenterOptions, TextRegionSegmenter
from textregion.index.part import MOST_PICTURES
from textregion.index.rows import FileFacts, PictureFacts, PictureRows, encode_masks
from textregion.index.store import Store
from textregion.index.table import Table
from textregion.index.upkeep import recall
from textregion.runtime import Precision

from .measure import machine, write
from .models import draw_predictions

SIZE = 768
PER_PICTURE = 50
CLUSTERS = 2000
QUESTIONS = 30
SIZE_HW = (768, 1024)
MADE_FILES = 100_000


class MadeVectors:
    """Tokens and questions of a made world; the mean cosine of a word and a region is about 0.2."""

    def __init__(self) -> None:
        self._random = torch.Generator().manual_seed(0)
        self._mean = F.normalize(self._normal(1), dim=1)
        self._centres = F.normalize(self._normal(CLUSTERS), dim=1)
        self._gap = F.normalize(self._normal(1), dim=1)

    def _normal(self, rows: int) -> Tensor:
        return torch.randn(rows, SIZE, generator=self._random)

    def regions(self, count: int) -> Tensor:
        """(count, D) float32 of length 1."""
        cluster = torch.randint(CLUSTERS, (count,), generator=self._random)
        noise = self._normal(count) / SIZE**0.5
        return F.normalize(self._mean * 0.7 + self._centres[cluster] * 0.5 + noise * 0.5, dim=1)

    def words(self, count: int) -> Tensor:
        """(count, D) float32 of length 1, away from all regions."""
        cluster = torch.randint(CLUSTERS, (count,), generator=self._random)
        noise = self._normal(count) / SIZE**0.5
        return F.normalize(self._mean * 0.2 + self._centres[cluster] * 0.3 + self._gap * 0.8 + noise * 0.5, dim=1)


def fill(folder: Path, count: int, vectors: MadeVectors) -> None:
    """Write parts of so many regions, fifty a picture, with drawn masks of 256 x 256."""
    masks = draw_predictions(16, 256)[0][:, 1]  # of the middle size
    rles = encode_masks((masks > 0).numpy())
    store, done = Store(folder), 0
    while done < count:
        pictures = []
        for _ in range(min(MOST_PICTURES, (count - done) // PER_PICTURE)):
            path = f"/photos/{done // PER_PICTURE:07d}.jpg"
            columns = (vectors.regions(PER_PICTURE).half(), torch.zeros(PER_PICTURE, 4, dtype=torch.int32))
            scores = (torch.ones(PER_PICTURE), torch.ones(PER_PICTURE).half())
            chosen = tuple(rles[(done + number * 5) % len(rles)] for number in range(PER_PICTURE))
            facts = PictureFacts(path, FileFacts(1, 1), path, SIZE_HW, (256, 256), PER_PICTURE)
            pictures.append(PictureRows(facts, *columns, *scores, chosen))
            done += PER_PICTURE
        store.add(pictures)


def _one_region() -> RegionTokens:
    return RegionTokens(torch.zeros(1, SIZE), RegionMasks.from_masks(torch.ones(1, 1, 1)), SIZE_HW, SIZE_HW)


def speed(count: int, vectors: MadeVectors, folder: Path) -> dict[str, Any]:
    """Milliseconds a question, recall and bytes at one size."""
    RegionIndex.create(folder, stub_segmenter(lambda path: _one_region()))
    fill(folder, count, vectors)
    index = RegionIndex.open(folder)
    table = index._table
    questions = {"words": list(vectors.words(QUESTIONS)), "regions": list(vectors.regions(QUESTIONS))}
    asked = [question for kind in questions.values() for question in kind]
    results: dict[str, Any] = {"regions": index.region_count}
    results["mean cosine of words"] = round(float(np.mean([table.scan(q).mean() for q in questions["words"]])), 3)
    results["recall at 10"] = {kind: recall(table, some[:10], table.scan) for kind, some in questions.items()}
    status = index.status()
    results["bytes a region"] = round(status.part_bytes / count)
    results["bytes a region in the cache"] = round(status.cache_bytes / count)
    milliseconds = {"exact, the best of each picture": timed(lambda q: index.search(q), asked)}
    milliseconds["scan alone"] = timed(table.scan, asked)
    if importlib.util.find_spec("lancedb") and count >= 100_000:
        start = time.perf_counter()
        index.search(asked[0], approximate=True)
        results["seconds to make the approximate index"] = round(time.perf_counter() - start, 1)
        milliseconds["approximate, the best of each picture"] = timed(
            lambda q: index.search(q, approximate=True), asked
        )
        check = index._lance
        assert check is not None
        ann = check[1]
        scan = lambda q: table.at(q, ann.candidates(q, table.alive, 100))  # noqa: E731
        results["recall at 10, approximate"] = {
            kind: recall(table, some[:10], scan) for kind, some in questions.items()
        }
        shutil.rmtree(folder / "cache" / "lance")
    milliseconds |= beside(table, asked)
    results["milliseconds"] = milliseconds
    results["seconds from a cold shell"] = cold(folder)
    return results


def beside(table: Table, asked: Sequence[Tensor]) -> dict[str, Any]:
    """The same questions against one matrix in float32, plain and in faiss."""
    rows = torch.empty(int(table.starts[-1]), SIZE)
    for places, tokens in table.living_tokens(20_000):
        rows[torch.from_numpy(places)] = tokens.float()
    found = {"plain product in fp32": timed(lambda q: (rows @ q).topk(24), asked)}
    if importlib.util.find_spec("faiss"):
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())
        flat = faiss.IndexFlatIP(SIZE)
        for block in rows.split(50_000):
            flat.add(block.numpy())
        del rows, block
        gc.collect()
        found["faiss IndexFlatIP"] = timed(lambda q: flat.search(q[None].numpy(), 24), asked)
    return found


def timed(ask: Callable[[Tensor], object], questions: Sequence[Tensor]) -> dict[str, float]:
    """p50 and p95 in milliseconds, after two questions that warm up."""
    for question in questions[:2]:
        ask(question)
    seconds = []
    for question in questions:
        start = time.perf_counter()
        ask(question)
        seconds.append(time.perf_counter() - start)
    return {name: round(float(np.quantile(seconds, q)) * 1000, 2) for name, q in (("p50", 0.5), ("p95", 0.95))}


def cold(folder: Path) -> float:
    """Seconds from starting Python to an answer to a token: all that a search takes beside loading a text tower."""
    code = (
        "import sys, torch; from textregion import RegionIndex; index = RegionIndex.open(sys.argv[1]);"
        f"assert len(index.search(torch.ones({SIZE}), k=24)) == 24"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, os.fspath(folder)], check=True)
    return round(time.perf_counter() - start, 2)


def stub_segmenter(encode: Callable[[str], RegionTokens]) -> TextRegionSegmenter:
    """A segmenter that takes no time; it has no models."""

    class Stub(TextRegionSegmenter):
        def __init__(self) -> None:
            self.encoder: Any = SimpleNamespace(name="made", crop_size=224, device=torch.device("cpu"))
            self.options, self.precision = SegmenterOptions(), Precision()
            self.mask_generator: Any = SimpleNamespace(precision=self.precision)

        @property
        def model_names(self) -> dict[str, str]:
            return {"encoder": "made", "sam2": "made"}

        def encode(self, picture: Any, masks: Any = None) -> RegionTokens:
            return encode(picture)

    return Stub()


def adding(folder: Path) -> dict[str, float]:
    """What adding takes beside encoding: pictures of 190 regions with masks of 256 x 256, a file of a megabyte each."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    for number in range(128):
        (photos / f"{number}.jpg").write_bytes(os.urandom(2**20))
    masks = RegionMasks.from_masks(draw_predictions(16, 256)[0][:190, 1].clamp(0, 3), SIZE_HW)
    regions = RegionTokens(F.normalize(torch.randn(190, SIZE), dim=1), masks, SIZE_HW, SIZE_HW, "made")
    index = RegionIndex.create(folder / "index", stub_segmenter(lambda path: regions))
    start = time.perf_counter()
    index.add(photos)
    return {"milliseconds a picture of 190 regions": round((time.perf_counter() - start) / 128 * 1000, 1)}


def nothing_to_do(folder: Path) -> dict[str, float]:
    """A run over 100,000 files that are all in the index, from a cold shell."""
    photos = folder / "photos"
    token = RegionTokens(torch.ones(1, 8) / 8**0.5, RegionMasks.from_masks(torch.ones(1, 8, 8)), (8, 8), (8, 8), "made")
    index = RegionIndex.create(folder / "index", stub_segmenter(lambda path: token))
    store, waiting = Store(folder / "index"), []
    for number in range(MADE_FILES):
        path = photos / f"{number // 1000:03d}" / f"{number:06d}.jpg"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(b"%d" % number)
        waiting.append(PictureRows.of(str(path), FileFacts.of(str(path)), str(number), token))
        if len(waiting) == MOST_PICTURES or number == MADE_FILES - 1:
            store.add(waiting)
            waiting = []
    index.refresh()
    start = time.perf_counter()
    command = [sys.executable, "-m", "textregion", "index", os.fspath(photos), "--index", os.fspath(folder / "index")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert f"{MADE_FILES} unchanged" in done.stdout, done.stdout
    return {"files": MADE_FILES, "seconds": round(time.perf_counter() - start, 2)}


def main() -> None:
    """Measure as the command line says, and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], metavar="REGIONS")
    parser.add_argument("--folder", type=Path, help="where to make the indexes (default: a temporary folder)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/index.json"))
    args = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(torch.device("cpu")), "questions": {}}
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        root, vectors = Path(name), MadeVectors()
        for part, work in (("adding", adding), ("nothing to do", nothing_to_do)):
            results[part] = work(root / part)
            print(part, results[part], flush=True)
            shutil.rmtree(root / part)
        for count in args.sizes:
            results["questions"][str(count)] = speed(count, vectors, root / str(count))
            print(count, results["questions"][str(count)], flush=True)
            shutil.rmtree(root / str(count))
            gc.collect()
    write(args.output, results)


if __name__ == "__main__":
    main()
