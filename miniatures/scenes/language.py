"""Words about scenes: captions of whole pictures, expressions for one thing, questions for several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from miniatures.scenes.scene import Scene, SceneObject

_OPENINGS = (
    *("a picture of {}", "a photo of {}", "{}", "there is {}", "a painting of {}", "an illustration of {}"),
    *("a picture book page with {}", "here you see {}", "a scene with {}", "we can see {}"),
    *("a drawing of {}", "look, {}"),
)
_SETTINGS = ("{} and {}", "{} with {}", "{} before {}", "{} in front of {}")

# What makes "left", "big" and "next to" safe to say: margins in picture widths, and ratios.
_PLACE_MARGIN = 0.1
_SIZE_RATIO = 1.8
_NEIGHBOUR_RATIO = 1.7
_NEAR = 0.6  # of the neighbour's longer side


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
    words = join([article(item.name if rng.random() < 0.8 else item.kind) for item in chosen])
    if ground_words and rng.random() < 0.6:
        words = _SETTINGS[rng.integers(len(_SETTINGS))].format(words, ground_words)
    return _OPENINGS[rng.integers(len(_OPENINGS))].format(words)


def expressions(scene: Scene, rng: np.random.Generator, harder: bool) -> list[tuple[int, list[str]]]:
    """Sentences that fit exactly one thing: its index in scene.objects, and one to three of them.

    Easy ones name the kind, with the colour where needed or at random; harder ones always add the size,
    the place or a neighbour. A thing for which nothing unambiguous can be said is left out.
    """
    found = []
    things = {index: item for index, item in enumerate(scene.objects) if item.role == "thing"}
    for index in things:
        sentences = _harder_sentences(things, index, scene) if harder else _easy_sentences(things, index)
        if sentences:
            count = min(int(rng.integers(1, 4)), len(sentences))
            found.append((index, [sentences[number] for number in rng.permutation(len(sentences))[:count]]))
    return found


def _easy_sentences(things: dict[int, SceneObject], index: int) -> list[str]:
    item = things[index]
    sentences = []
    if sum(other.kind == item.kind for other in things.values()) == 1:
        sentences += [item.kind, f"the {item.kind}"]
    if sum(other.name == item.name for other in things.values()) == 1:
        sentences += [item.name, f"the {item.name}", f"{item.kind} that is {item.colour}"]
    return sentences


def _harder_sentences(things: dict[int, SceneObject], index: int, scene: Scene) -> list[str]:
    item = things[index]
    peers = [other for number, other in things.items() if other.kind == item.kind and number != index]
    sentences = []
    if peers:
        if item.area > _SIZE_RATIO * max(other.area for other in peers):
            sentences += [f"the biggest {item.kind}", f"the large {item.kind}"]
        if item.area * _SIZE_RATIO < min(other.area for other in peers):
            sentences += [f"the smallest {item.kind}", f"the little {item.kind}"]
        sentences += _places(item, peers, scene.size_hw)
    for other in _neighbours(things, index):
        sentences += [f"the {item.kind} next to the {other.name}", f"{item.name} beside the {other.name}"]
    return sentences


def _centre(item: SceneObject) -> np.ndarray:
    x, y, width, height = item.box_xywh
    return np.array((x + width / 2, y + height / 2))


_PLACES = (
    (0, -1, "the {} on the left", "left {}"),
    (0, 1, "the {} on the right", "right {}"),
    (1, -1, "the {} at the top", "upper {}"),
    (1, 1, "the {} at the bottom", "lower {}"),
)


def _places(item: SceneObject, peers: Iterable[SceneObject], size_hw: tuple[int, int]) -> list[str]:
    """Left, right, upper, lower: where the thing's centre is clearly beyond those of all its peers."""
    offsets = np.stack([_centre(item) - _centre(other) for other in peers]) / size_hw[::-1]
    return [
        wording.format(item.kind)
        for axis, sign, *wordings in _PLACES
        if (sign * offsets[:, axis]).min() > _PLACE_MARGIN
        for wording in wordings
    ]


def _neighbours(things: dict[int, SceneObject], index: int) -> list[SceneObject]:
    """Things with a name of their own that this one is near to, and by far the nearest of its kind."""
    item = things[index]
    found = []
    for number, other in things.items():
        if number == index or sum(third.name == other.name for third in things.values()) > 1:
            continue
        own = _gap(item, other)
        rivals = [
            _gap(third, other)
            for rival, third in things.items()
            if rival not in (index, number) and third.kind == item.kind
        ]
        near = own < _NEAR * max(other.box_xywh[2:])
        if other.kind != item.kind and near and all(_NEIGHBOUR_RATIO * own + 4 < gap for gap in rivals):
            found.append(other)
    return found


def _gap(first: SceneObject, second: SceneObject) -> float:
    """The distance in pixels between two boxes, 0 where they overlap."""
    (x1, y1, w1, h1), (x2, y2, w2, h2) = first.box_xywh, second.box_xywh
    return float(np.hypot(max(x1 - x2 - w2, x2 - x1 - w1, 0.0), max(y1 - y2 - h2, y2 - y1 - h1, 0.0)))


@dataclass(frozen=True)
class Question:
    """A request for one or several objects, what it means in plain words, and the objects that answer it.

    text: a short phrase, or a whole sentence where is_sentence.
    answer: the kinds that are meant and visible, such as "dog and cat".
    targets: indexes in `Scene.objects`, never empty.
    """

    text: str
    is_sentence: bool
    answer: str
    targets: tuple[int, ...]


# The kinds that are meant, as a short phrase, and as a sentence.
_RIDDLES: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("car",), "what can be driven on a road", "which things would need petrol for a trip to the next town?"),
    (
        ("boat",),
        "what sails on the sea",
        "which things would carry you across the water without getting wet?",
    ),
    (("car", "boat"), "the vehicles", "what could somebody travel in, on land or on water?"),
    (("house",), "the buildings", "where would a family go to sleep when the night is cold?"),
    (("dog", "cat"), "the pets with four legs", "which animals would like to be stroked by their owners?"),
    (
        ("dog", "cat", "fish", "bird"),
        "the animals",
        "which living beings in this picture can move but not talk?",
    ),
    (("bird",), "the animal with feathers", "who in this picture lays eggs in a nest?"),
    (("fish",), "the swimmers with fins", "who would be unhappy outside of the water?"),
    (("bird", "kite"), "what flies in the wind", "which things may be up in the air without being far away?"),
    (("flower",), "what bees like", "what would you pick to give somebody a bunch that smells sweet?"),
    (
        ("tree", "flower"),
        "the plants with leaves",
        "what in this picture needs rain and light to grow leaves?",
    ),
    (("mushroom",), "what grows in a forest overnight", "what has a cap and a stalk but is not a plant?"),
    (("sun", "lamp"), "the sources of light", "what makes it bright enough to read?"),
    (("cloud",), "what brings the rain", "what should be watched by someone who fears getting wet?"),
    (("ball", "kite"), "the toys", "what would children take along to play outside?"),
    (("chair",), "something to sit on", "where could a tired visitor have a rest?"),
    (("cup",), "something to drink from", "what should be filled again when the coffee is finished?"),
    (("chair", "lamp"), "the furniture", "which things may also stand in a living room?"),
    (("person",), "the people", "who in this picture could tell us a story?"),
    (("wheel",), "the round parts that roll", "which parts have to turn when a car drives off?"),
    (("door",), "the way into a house", "what would you knock on when you visit somebody?"),
    (("water",), "a place to swim", "which part of the landscape would make your feet wet?"),
    (("road",), "a place for driving", "which part of the landscape was built for cars?"),
    (("snow",), "what melts in spring", "which part of the landscape is cold and good for snowballs?"),
    (("grass",), "what cows eat", "which part of the landscape would have to be mown in summer?"),
    (("sand",), "what castles are made of", "which part of the landscape feels hot and dry on a beach?"),
    (("sky",), "where the stars are", "which part of the picture is above everything on the ground?"),
)


def questions(scene: Scene, rng: np.random.Generator) -> list[Question]:
    """Every question that the scene can answer, each as a phrase or as a sentence, in random order."""
    asked = []
    for kinds, phrase, sentence in _RIDDLES:
        targets = tuple(index for index, item in enumerate(scene.objects) if item.kind in kinds)
        is_sentence = bool(rng.random() < 0.5)
        if targets:
            visible = [kind for kind in kinds if any(scene.objects[index].kind == kind for index in targets)]
            asked.append(Question(sentence if is_sentence else phrase, is_sentence, join(visible), targets))
    return [asked[number] for number in rng.permutation(len(asked))]
