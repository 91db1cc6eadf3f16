"""Rendered picture-book scenes with exact masks and sentences: the world that the miniatures know."""

from eval.scenes.composition import render_scene
from eval.scenes.scene import COLOURS, GROUNDS, PARTS, THINGS, Scene, SceneObject

__all__ = ["COLOURS", "GROUNDS", "PARTS", "THINGS", "Scene", "SceneObject", "render_scene"]
