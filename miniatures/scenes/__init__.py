"""Rendered picture-book scenes with exact masks and sentences: the world that the miniatures know."""

from miniatures.scenes.composition import render_scene
from miniatures.scenes.scene import COLOURS, GROUNDS, PARTS, THINGS, Scene, SceneObject

__all__ = ["COLOURS", "GROUNDS", "PARTS", "THINGS", "Scene", "SceneObject", "render_scene"]
