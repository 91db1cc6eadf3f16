"""How well words find pictures in an index: rendered scenes with their exact truth, asked by colour and kind.

Region tokens stand beside one token of the whole picture and beside tokens of crops around the same regions, all of the
same image tower; and beside each other stand how often a word is said to be there when it is, and when it is not.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from eval.referring.baselines import CropBaseline
from miniatures.scenes import COLOURS, THINGS, Scene, render_scene
from miniatures.scenes.files import write_picture
from textregion import RegionIndex, TextRegionSegmenter
from textregion.image import load_rgb

from .measure import machine, write

SIZE_HW = (320, 448)
LEAST_PICTURES = 5
"""A question counts where at least so many pictures show it."""
Ranking = Sequence[int]


def render(folder: Path, count: int, seed: int) -> list[Scene]:
    """Scenes, written as PNG where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = []
    for number in tqdm(range(count), desc="render", unit="scene"):
        scene = render_scene(seed + number, SIZE_HW)
        path = folder / f"scene_{number:04d}.png"
        if not path.exists():
            write_picture(path, scene.image)
        scenes.append(scene)
    return scenes


def precision(ranking: Ranking, relevant: set[int], depth: int) -> float:
    """Share of the first answers that are right, of as many as there can be."""
    first = ranking[: min(depth, len(relevant))]
    return sum(one in relevant for one in first) / len(first)


def average_precision(ranking: Ranking, relevant: set[int]) -> float:
    """Mean of the precision at every right answer."""
    places = [place for place, one in enumerate(ranking, 1) if one in relevant]
    return sum(found / place for found, place in enumerate(places, 1)) / len(relevant)


def figures(rank: Callable[[str], Ranking], truth: Mapping[str, set[int]]) -> dict[str, float]:
    """P@1, P@10 and mAP over all questions."""
    rankings = {word: rank(word) for word in truth}
    means = {
        "P@1": [precision(rankings[word], truth[word], 1) for word in truth],
        "P@10": [precision(rankings[word], truth[word], 10) for word in truth],
        "mAP": [average_precision(rankings[word], truth[word]) for word in truth],
    }
    return {name: round(float(np.mean(values)), 3) for name, values in means.items()}


def crops(segmenter: TextRegionSegmenter, index: RegionIndex, pictures: Sequence[str]) -> list[Tensor]:
    """A token for the crop around each region of every picture."""
    baseline = CropBaseline(segmenter)
    tokens = []
    for picture in tqdm(pictures, desc="crops", unit="picture"):
        boxes = [tuple(map(float, region.box_xywh)) for region in index.regions(picture)]
        tokens.append(baseline.encode(load_rgb(picture), tuple(boxes)).cpu())  # type: ignore[arg-type]
    return tokens


def whole(segmenter: TextRegionSegmenter, pictures: Sequence[str]) -> list[Tensor]:
    """One token a picture."""
    baseline = CropBaseline(segmenter)
    box = (0.0, 0.0, float(SIZE_HW[1]), float(SIZE_HW[0]))
    return [baseline.encode(load_rgb(picture), (box,)).cpu() for picture in pictures]


def ranked_by(tokens: Sequence[Tensor], encode: Callable[[str], Tensor]) -> Callable[[str], Ranking]:
    """Pictures by the best of their tokens."""

    def rank(word: str) -> Ranking:
        text = encode(word)
        best = [float((own @ text).max()) for own in tokens]
        return list(np.argsort(-np.array(best), kind="stable"))

    return rank


def presence(index: RegionIndex, words: Sequence[str], names: Sequence[set[str]], seed: int) -> dict[str, Any]:
    """How often a word is said to be found in small indexes where it is, and where it is not.

    Indexes of 10 pictures are played by asking within folders; statistics are those of the whole index.
    """
    random, said = np.random.default_rng(seed), {True: [], False: []}  # type: ignore[var-annotated]
    pictures = index.pictures
    for word in words:
        hits = {hit.picture: hit.relevance for hit in index.search(word, k=len(pictures))}
        for _ in range(10):
            chosen = random.choice(len(pictures), 10, replace=False)
            there = any(word in names[one] for one in chosen)
            said[there].append(max(hits[pictures[one]] or 0.0 for one in chosen) >= 0.5)
    return {
        "found where it is": round(float(np.mean(said[True])), 3),
        "found where it is not": round(float(np.mean(said[False])), 3),
        "trials": [len(said[True]), len(said[False])],
    }


def pointed(index: RegionIndex, scenes: Sequence[Scene], truth: Mapping[str, set[int]]) -> float:
    """Share of questions whose first answer's region has an IoU of 0.5 with a thing of that name."""
    right = 0
    for word in truth:
        hit = index.search(word, k=1)[0]
        scene = scenes[index.pictures.index(hit.picture)]
        masks: list[npt.NDArray[np.bool_]] = [item.mask for item in scene.objects if item.name == word]
        own = hit.mask()
        right += any((own & mask).sum() / (own | mask).sum() >= 0.5 for mask in masks)
    return round(right / len(truth), 3)


def main() -> None:
    """Measure as the command line says, and write the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.index_quality", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--count", type=int, default=500, metavar="SCENES")
    parser.add_argument("--seed", type=int, default=700_000, help="of the first scene: far from those trained on")
    parser.add_argument("--folder", type=Path, required=True, help="for pictures and index; taken up where it exists")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/index_quality.json"))
    args = parser.parse_args()
    segmenter = TextRegionSegmenter.from_pretrained()
    scenes = render(args.folder / "scenes", args.count, args.seed)
    path = args.folder / "index"
    index = RegionIndex.open(path, segmenter) if path.exists() else RegionIndex.create(path, segmenter)
    index.add(args.folder / "scenes", progress=lambda done, total: print(f"encoded {done} of {total}", end="\r"))
    pictures = index.pictures[: args.count]
    names = [{item.name for item in scene.objects if item.role == "thing"} for scene in scenes]
    asked = [f"{colour} {kind}" for colour in COLOURS for kind in THINGS]
    shown = {word: {number for number, own in enumerate(names) if word in own} for word in asked}
    truth = {word: pictures_ for word, pictures_ in shown.items() if len(pictures_) >= LEAST_PICTURES}
    encode = lambda word: segmenter.text.encode([word])[0].cpu()  # noqa: E731
    order = {os.fspath(picture): number for number, picture in enumerate(pictures)}
    by_index = lambda word: [order[hit.picture] for hit in index.search(word, k=len(order))]  # noqa: E731
    results: dict[str, Any] = {
        "machine": machine(torch.device("cpu")),
        "scenes": len(pictures),
        "regions": index.region_count,
        "questions": len(truth),
        "region tokens": figures(by_index, truth),
        "whole pictures": figures(ranked_by(whole(segmenter, pictures), encode), truth),
        "crops around the regions": figures(ranked_by(crops(segmenter, index, pictures), encode), truth),
        "chance": figures(lambda word: list(np.random.default_rng(len(word)).permutation(len(pictures))), truth),
        "first answer's region is the thing": pointed(index, scenes, truth),
        "relevance": presence(index, asked, names, args.seed),
    }
    print({name: value for name, value in results.items() if name != "machine"}, flush=True)
    write(args.output, results)


if __name__ == "__main__":
    main()
