"""Words about scenes: captions of whole pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.scenes.scene import Scene, SceneObject

_OPENINGS = (
    "a picture of {}", "a photo of {}", "{}", "there is {}", "a painting of {}", "an illustration of {}",
    "a picture book page with {}", "here you see {}", "a scene with {}", "we can see {}", "a drawing of {}", "look, {}",
)  # fmt: skip
_SETTINGS = ("{} and {}", "{} with {}", "{} before {}", "{} in front of {}")


def article(words: str) -> str:
    """The words with "a" or "an"."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def join(phrases: Sequence[str]) -> str:
    """ "a, b and c"."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """A sentence that names some of the things, mostly with their colours, and often the grounds."""
    grounds = [item.kind for item in scene.objects if item.role == "ground"]
    things = [item for item in scene.objects if item.role == "thing"]
    ground_words = join([str(kind) for kind in rng.permutation(grounds)]) if grounds else ""
    if not things:
        return _OPENINGS[rng.integers(len(_OPENINGS))].format(ground_words)
    count = len(things) if rng.random() < 0.5 else int(rng.integers(1, len(things) + 1))
    chosen = [things[index] for index in rng.permutation(len(things))[:count]]
    words = join([_name(item, rng) for item in chosen])
    if ground_words and rng.random() < 0.6:
        words = _SETTINGS[rng.integers(len(_SETTINGS))].format(words, ground_words)
    return _OPENINGS[rng.integers(len(_OPENINGS))].format(words)


def _name(item: SceneObject, rng: np.random.Generator) -> str:
    return article(item.name if rng.random() < 0.8 else item.kind)
