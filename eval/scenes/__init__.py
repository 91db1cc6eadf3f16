"""Rendered picture-book scenes with exact masks, captions, expressions and questions: the world of the miniatures."""

from eval.scenes.scene import COLOURS, GROUNDS, PARTS, THINGS, Scene, SceneObject, render_scene

__all__ = ["COLOURS", "GROUNDS", "PARTS", "THINGS", "Scene", "SceneObject", "render_scene"]
