"""All kinds of things, in the order in which label maps count them."""

from __future__ import annotations

from miniatures.scenes import made, nature
from miniatures.scenes.kinds import COLOUR_VALUES, REGISTERED, ThingKind

_DRAWN = (
    made.house,
    nature.tree,
    made.car,
    made.boat,
    nature.person,
    nature.dog,
    nature.cat,
    nature.fish,
    nature.bird,
    nature.flower,
    nature.mushroom,
    nature.sun,
    nature.cloud,
    made.ball,
    made.chair,
    made.cup,
    made.lamp,
    made.kite,
)
THING_KINDS: dict[str, ThingKind] = {draw.__name__: REGISTERED[draw.__name__] for draw in _DRAWN}

__all__ = ["COLOUR_VALUES", "THING_KINDS", "ThingKind"]
