"""What the MMSeg model is made with, what it hands on, and how launchers and configs are read before that."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config

from eval.semantic import run as semantic_run
from eval.semantic.metric import RecordedIoUMetric
from eval.semantic.model import ROOT, TextRegionSegmentor, read_words, semantic_architecture, sweep_weights
from eval.semantic.run import class_table, requested, summary
from eval.shared.processes import Processes
from textregion import TextRegionSegmenter, UserError
from textregion.runtime import StageClock


@pytest.mark.parametrize(
    ("architecture", "pretrained", "sam2", "expected"),
    [
        (None, None, None, None),  # the miniatures
        (None, None, "sam2.pt", "laion2b_s32b_b79k"),
        ("ViT-H/14", None, None, "laion2b_s32b_b79k"),
        ("ViT-H-14", None, "sam2.pt", "laion2b_s32b_b79k"),
        ("ViT-B/16", None, "sam2.pt", None),
        (None, "openai", None, "openai"),
        ("ViT-H/14", "mine.pt", None, "mine.pt"),
    ],
)
def test_the_sweep_evaluates_laions_weights_where_none_are_named(
    architecture: str | None, pretrained: str | None, sam2: str | None, expected: str | None
) -> None:
    assert sweep_weights(architecture, pretrained, sam2) == expected


def test_architectures_that_the_weights_imply() -> None:
    assert semantic_architecture(None, "laion2b_s32b_b79k", None) == "ViT-H/14"
    assert semantic_architecture(None, "siglip2", "sam2.pt") == "ViT-B-16-SigLIP2"
    assert semantic_architecture(None, "mine.pt", None) is None
    assert semantic_architecture("ViT-L/14", None, None) == "ViT-L/14"


def test_a_segmenter_of_its_own_is_made_of_the_models_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr(TextRegionSegmenter, "from_pretrained", lambda **names: made.update(names))
    arguments: dict[str, Any] = {
        "clip_download_root": "root",
        "tokenizer": "somebody/words",
        "sam2_checkpoint": "sam2.pt",
        "model_cfg": "sam2.yaml",
        "device": "cpu",
        "dtype": "bf16",
        "sam2_dtype": "fp32",
        "published": True,
        "templates": "simple",
    }
    TextRegionSegmentor("configs/cls_voc20.txt", {"prob_thd": 0.5}, clip_pretrained="meta", **arguments)
    assert isinstance(made.pop("clock"), StageClock)
    options = {"prob_thd": 0.5}
    names = {"clip_architecture": "PE-Core-B16-224", "clip_pretrained": "meta"}
    assert made == {**arguments, **names, "task": "semantic", "options": options}


def test_class_files_lie_here_or_in_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_words("configs/cls_voc20.txt").words[0] == (ROOT / "configs/cls_voc20.txt").read_text().split("\n")[0]
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "cls_voc20.txt").write_text("mine\n")
    assert read_words("configs/cls_voc20.txt").words == ("mine",)


def test_the_model_says_what_the_segmenter_says(segmenters: dict[str, TextRegionSegmenter], tmp_path: Path) -> None:
    plain = segmenters["clip"]
    clock = StageClock({"text": 5.0})
    segmenter = TextRegionSegmenter(plain.encoder, plain.mask_generator, plain.options, clock=clock)
    (tmp_path / "words.txt").write_text("red; kite\ngrass\n")
    model = TextRegionSegmentor(str(tmp_path / "words.txt"), segmenter=segmenter)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), np.uint8)
    inputs = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    samples = model.predict(inputs)
    assert len(samples) == 2
    for picture, sample in zip(pictures, samples):
        expected = segmenter.segment(picture, ["red", "kite", "grass"], [0, 0, 1])
        assert torch.equal(sample.pred_sem_seg.data, expected.labels[None])
        assert torch.equal(sample.confidence.data, expected.confidence[None])
    spent = [sample.stage_seconds for sample in samples]
    assert all(0 < seconds["masks"] < clock.seconds["masks"] for seconds in spent)
    assert spent[1]["text"] < 1  # the seconds before this picture are not its own
    without = TextRegionSegmentor(str(tmp_path / "words.txt"), segmenter=plain)
    assert without.predict(inputs[:1])[0].stage_seconds == {}


def test_only_the_first_process_has_results(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    monkeypatch.setattr(Processes, "barrier", lambda self: waited.append(self.rank))
    work: Any = None  # the others do not look at it
    metric = RecordedIoUMetric(work, Processes(1, 2), "/data", ["a.png"])
    assert metric.evaluate(1) == {}
    assert waited == [1]


def test_what_is_asked_of_a_run() -> None:
    args = argparse.Namespace(
        clip_architecture=None,
        clip_pretrained="openai",
        sam2_checkpoint=None,
        model_cfg="sam2.yaml",
        dtype="bf16",
        sam2_dtype="fp32",
        published=True,
        templates="mine.txt",
        cfg_options={"a.b": (1, 2)},
        limit=3,
        min_size=4,
        scale=None,
    )
    names = ("clip_architecture", "clip_pretrained", "sam2_checkpoint", "model_cfg")
    assert requested(args) == {
        "models": dict(zip(names, ("ViT-B/16", "openai", None, "sam2.yaml"))),
        "dtype": "bf16",
        "sam2_dtype": "fp32",
        "published": True,
        "templates": "mine.txt",
        "options": {"min_size": 4},
        "cfg_options": {"a.b": [1, 2]},
        "limit": 3,
    }


def test_what_is_printed() -> None:
    results = {
        "dataset": "voc21",
        "mIoU": 41.234,
        "aAcc": 5.0,
        "mAcc": 66.666,
        "per_class": {"sky": {"IoU": 12.341, "Acc": 100.0}, "a long name": {"IoU": float("nan"), "Acc": 0.0}},
    }
    assert summary(results) == "voc21  mIoU 41.23  aAcc 5.00  mAcc 66.67"
    assert class_table(results).splitlines() == [
        "class           IoU     Acc",
        "sky           12.34  100.00",
        "a long name       -    0.00",
    ]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No launcher's variables; what a test sets is taken back."""
    names = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"]
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if k not in names})
    return monkeypatch


def check(launcher: str, limit: int | None = None, local_rank: int | None = None) -> None:
    semantic_run._check_run(argparse.Namespace(launcher=launcher, limit=limit, local_rank=local_rank))


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("launcher", "names"),
    [
        ("slurm", ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")),
        ("mpi", ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK")),
    ],
)
def test_other_launchers_are_made_to_speak_torchruns_language(launcher: str, names: tuple[str, ...]) -> None:
    os.environ.update(zip(names[:2], ("5", "8")))
    with pytest.raises(UserError, match=names[2]):
        check(launcher)
    os.environ.update(zip(names, ("5", "8", "1")))
    check(launcher)
    said = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    assert [os.environ[name] for name in said] == ["5", "8", "1", "127.0.0.1", "29500"]
    os.environ.update(MASTER_ADDR="node7", MASTER_PORT="1")
    check(launcher)
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("node7", "1")


@pytest.mark.usefixtures("environment")
def test_torchrun_is_asked_for_exactly_where_it_started_us() -> None:
    check("none")
    check("none", limit=1)
    with pytest.raises(UserError, match="needs torchrun"):
        check("pytorch")
    os.environ.update(RANK="0", WORLD_SIZE="1")
    check("none")
    with pytest.raises(UserError, match="needs torchrun"):
        check("pytorch")
    os.environ.update(WORLD_SIZE="2")
    check("pytorch", local_rank=1)
    assert os.environ["LOCAL_RANK"] == "1"
    with pytest.raises(UserError, match="add --launcher pytorch"):
        check("none")


def test_the_command_line_goes_over_the_configs_models() -> None:
    own = {name: f"own {name}" for name in ("clip_architecture", "clip_pretrained", "clip_download_root")}
    own |= {name: f"own {name}" for name in ("tokenizer", "sam2_checkpoint", "model_cfg", "device")}
    config = Config({"model": dict(own)})
    args = argparse.Namespace(**dict.fromkeys(own))
    semantic_run.take_models_from(config, args)
    assert vars(args) == own
    given = argparse.Namespace(**dict.fromkeys(own, "given"))
    semantic_run.take_models_from(config, given)
    assert vars(given) == dict.fromkeys(own, "given")


def test_options_of_a_config_are_names_and_values() -> None:
    assert semantic_run._plain_options(Config({"model": {}})) == {}
    config = Config({"model": {"options": {"scale": [3, 2], "prob_thd": 0.1}}})
    assert semantic_run._plain_options(config) == {"scale": (3, 2), "prob_thd": 0.1}
    with pytest.raises(UserError, match=r"names and values, but got \['scale'\]"):
        semantic_run._plain_options(Config({"model": {"options": ["scale"]}}))


@pytest.mark.parametrize(("rank", "count", "launcher", "share"), [(0, 1, "none", 5), (1, 2, "pytorch", 2)])
def test_the_runner_knows_whether_it_shares_the_pictures(
    rank: int, count: int, launcher: str, share: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, Any] = {}

    class Made:
        def __init__(self, **settings: Any) -> None:
            made.update(settings)

        def test(self) -> dict[str, Any]:
            return {"mIoU": 1.0}

    monkeypatch.setattr(semantic_run, "_FrozenRunner", Made)
    monkeypatch.setattr(semantic_run, "_Progress", lambda total, hidden: (total, hidden))
    settings = ("test_cfg", "default_hooks", "env_cfg", "visualizer", "log_level", "default_scope")
    config = Config({"test_dataloader": {"batch_size": 1}, **{name: {"of": name} for name in settings}})
    monkeypatch.setattr(Config, "filename", "configs/cfg_ds/cfg_voc21.py")
    nothing: Any = [None] * 5
    processes = Processes(rank, count)
    results = semantic_run._test(
        config, nothing, nothing, RecordedIoUMetric(nothing, processes, nothing), tmp_path, processes
    )
    assert results == {"mIoU": 1.0}
    assert (made["launcher"], made["work_dir"]) == (launcher, str(tmp_path / "log"))
    assert made["test_dataloader"] == {"batch_size": 1, "dataset": nothing}
    assert {name: made[name] for name in settings} == {name: {"of": name} for name in settings}
    assert made["custom_hooks"] == [(share, rank > 0)]
