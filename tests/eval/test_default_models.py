"""Which models an evaluation takes where none are named: by what its pictures are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.config import Config
from PIL import Image

from eval.semantic.config import of_rendered_world
from eval.shared import runner
from miniatures.scenes import render_scene
from miniatures.scenes.files import write_picture
from textregion import cli


def _config(root: Path, **more: Any) -> Config:
    dataset = {"data_root": str(root), "data_prefix": {"img_path": "images", "seg_map_path": "labels"}}
    return Config({"test_dataloader": {"dataset": dataset}, **more})


def test_a_semantic_data_set_is_rendered_where_its_config_or_its_pictures_say_so(tmp_path: Path) -> None:
    assert of_rendered_world(_config(tmp_path, rendered={"count": 3}))
    assert not of_rendered_world(_config(tmp_path))
    write_picture(tmp_path / "images" / "a.jpg", render_scene(1, (32, 48)).image)
    assert of_rendered_world(_config(tmp_path))
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.jpg")
    assert not of_rendered_world(_config(tmp_path))


@pytest.mark.parametrize("rendered", [True, False])
def test_the_other_evaluations_go_by_their_first_picture(
    rendered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    if rendered:
        write_picture(path, render_scene(1, (32, 48)).image)
    else:
        Image.new("RGB", (8, 8)).save(path)
    parser = cli.Parser()
    runner.add_run_options(parser, str(tmp_path))
    args = parser.parse_args(["--device", "cpu"])

    class Loaded(Exception):
        pass

    def load(args: Any, task: str) -> Any:
        raise Loaded

    monkeypatch.setattr(runner, "load_segmenter", load)
    pictures = [SimpleNamespace(path=path, examples={})]
    with pytest.raises(Loaded):
        runner.evaluate(args, "referring", pictures, lambda _: None, lambda _: {}, settings={}, asked={})  # type: ignore
    assert args.sam2_checkpoint == (None if rendered else "facebook/sam2.1-hiera-tiny")
    assert args.clip_architecture == (None if rendered else "ViT-B/16")
