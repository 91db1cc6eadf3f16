"""Pictures with their captions for training the miniature CLIP: rendered once, 64 x 64, kept in shards.

A picture is a close-up, a whole scene, a square cut out of a scene, or ground alone. Its caption is a set of
names: what a person would list on seeing that picture. What is too small to be sure of is neither listed nor
denied. No mask and no position reaches a shard.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from miniatures.scenes import COLOURS, GROUNDS, PARTS, THINGS, Scene, render_scene
from miniatures.scenes.language import caption

FIRST_SEED = 2_000_000  # scenes below this seed are never trained on: 0 to 99 are for scoring
IMAGE_SIZE = 64
NAMED_SHARE = 0.02  # a name with this share of the picture is in the caption
FAINT_SHARE = 0.002  # below this share it counts as absent; in between the caption leaves it open
ABSENT, FAINT, NAMED = 0, 1, 2
SCENE_SIZES_HW = ((256, 384), (256, 384), (384, 256), (320, 320), (240, 432), (512, 768))
CLOSEUP_SIZES_HW = ((64, 64), (96, 96), (128, 128), (96, 144), (144, 96), (256, 256))
SHARD_SCENES = 100
CUTS_PER_SCENE = 14
GROUND_CUTS_KEPT = 0.3  # of the cuts that show one ground and nothing else
CLOSEUPS_PER_SCENE = 4

logger = logging.getLogger(__name__)


def vocabulary() -> list[str]:
    """Every name that a caption can hold: kinds, grounds, parts, and kinds with their colour."""
    return [*THINGS, *GROUNDS, *PARTS, *(f"{colour} {kind}" for kind in THINGS for colour in COLOURS)]


@dataclass(frozen=True)
class Pictures:
    """Rendered pictures and what their captions say.

    images: (N, 64, 64, 3) uint8. says: (N, K) int8 over `vocabulary()`: NAMED, FAINT or ABSENT.
    sentences: N captions in words, for whole scenes the scene's own.
    """

    images: np.ndarray
    says: np.ndarray
    sentences: list[str]

    def __len__(self) -> int:
        return len(self.images)

    @staticmethod
    def join(shards: Sequence[Pictures]) -> Pictures:
        """One after the other."""
        return Pictures(
            np.concatenate([shard.images for shard in shards]),
            np.concatenate([shard.says for shard in shards]),
            [sentence for shard in shards for sentence in shard.sentences],
        )


def shrink(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (64, 64, 3) uint8, distorted where the picture is not square."""
    interpolation = cv2.INTER_AREA if min(image.shape[:2]) > IMAGE_SIZE else cv2.INTER_CUBIC
    return cv2.resize(image, (IMAGE_SIZE, IMAGE_SIZE), interpolation=interpolation)


def caption_names(scene: Scene, window: tuple[slice, slice], index: dict[str, int]) -> np.ndarray:
    """(K,) int8: what a caption of that window of the scene says about each name."""
    shares = np.zeros(len(index))
    for item in scene.objects:
        share = item.mask[window].mean()
        shares[index[item.kind]] += share
        if item.role == "thing":
            shares[index[f"{item.colour} {item.kind}"]] += share
    says = np.full(len(index), ABSENT, dtype=np.int8)
    says[shares >= FAINT_SHARE] = FAINT
    says[shares >= NAMED_SHARE] = NAMED
    return says


def _sentence(says: np.ndarray, names: list[str], rng: np.random.Generator) -> str:
    """A caption in words that lists up to four of the names, in any order."""
    listed = [names[i] for i in rng.permutation(np.flatnonzero(says == NAMED))[:4]]
    return "a picture of " + " and ".join(f"a {name}" for name in listed) if listed else "a picture"


def _windows(size_hw: tuple[int, int], rng: np.random.Generator) -> Iterator[tuple[slice, slice]]:
    """Square cuts: half of them about as large as a tile is (a sixth of the long side), half of any size."""
    height, width = size_hw
    tile = max(size_hw) / 6
    for cut in range(CUTS_PER_SCENE):
        high = 1.6 * tile if cut % 2 else min(size_hw)
        side = int(np.exp(rng.uniform(np.log(0.7 * tile), np.log(high))))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        yield slice(top, top + side), slice(left, left + side)


def _pictures_of_scene(seed: int, index: dict[str, int]) -> Iterator[tuple[np.ndarray, np.ndarray, str | None]]:
    """One scene as a whole and in cuts, and a few close-ups: (image, says, sentence or None)."""
    rng = np.random.default_rng(seed)
    whole = (slice(None), slice(None))
    size_hw = SCENE_SIZES_HW[rng.integers(len(SCENE_SIZES_HW))]
    things = (0, 0) if rng.random() < 0.1 else ((1, 3) if rng.random() < 0.3 else (3, 8))
    scene = render_scene(seed, size_hw, things=things)
    yield shrink(scene.image), caption_names(scene, whole, index), caption(scene, rng)
    for window in _windows(size_hw, rng):
        says = caption_names(scene, window, index)
        if np.count_nonzero(says) > 1 or rng.random() < GROUND_CUTS_KEPT:
            yield shrink(scene.image[window]), says, None
    for closeup in range(CLOSEUPS_PER_SCENE):
        size_hw = CLOSEUP_SIZES_HW[rng.integers(len(CLOSEUP_SIZES_HW))]
        scene = render_scene(seed + (closeup + 1) * 10_000_000, size_hw, closeup=True)
        yield shrink(scene.image), caption_names(scene, whole, index), caption(scene, rng)


def render_shard(shard: int) -> Pictures:
    """The pictures of SHARD_SCENES scenes; the same number gives the same pictures."""
    names = vocabulary()
    index = {name: i for i, name in enumerate(names)}
    images, says, sentences = [], [], []
    for scene in range(SHARD_SCENES):
        seed = FIRST_SEED + shard * SHARD_SCENES + scene
        rng = np.random.default_rng(seed)
        for image, said, sentence in _pictures_of_scene(seed, index):
            images.append(image)
            says.append(said)
            sentences.append(sentence or _sentence(said, names, rng))
    return Pictures(np.stack(images), np.stack(says), sentences)


def render_pool(folder: Path, shards: int) -> None:
    """Render the shards that the folder does not hold yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        path = folder / f"{shard:04d}.npz"
        if path.exists():
            continue
        pictures = render_shard(shard)
        partial = path.with_suffix(".partial.npz")
        sentences = np.array(pictures.sentences)
        np.savez_compressed(partial, images=pictures.images, says=pictures.says, sentences=sentences)
        partial.rename(path)
        logger.info("shard %d of %d: %d pictures", shard + 1, shards, len(pictures))


def load_pool(folder: Path, shards: int) -> Pictures:
    """All rendered shards of the folder, `shards` at most."""
    loaded = []
    for path in sorted(folder.glob("[0-9][0-9][0-9][0-9].npz"))[:shards]:
        with np.load(path) as data:
            loaded.append(Pictures(data["images"], data["says"], data["sentences"].tolist()))
    return Pictures.join(loaded)
