"""The MMSeg model against recorded stages, the kept counts, and a whole evaluation that is killed and spread out."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmseg.structures import SegDataSample
from PIL import Image

import eval_all_semantic
import eval_semantic
from eval.semantic.metric import RecordedIoUMetric
from eval.semantic.model import PUBLISHED_MODELS, ROOT, TextRegionSegmentor, check_class_count, semantic_architecture
from eval.semantic.pictures import PictureFolder
from eval.semantic.run import class_table, evaluate, requested
from eval.semantic.table import AVERAGE, EIGHT, bar_chart, markdown_table
from eval.shared.processes import Processes
from eval.shared.records import RecordFile
from eval.shared.work_dir import WorkDir
from miniatures.scenes import render_scene
from miniatures.scenes.files import write_picture
from miniatures.scenes.formats import VOC_CLASSES, write_voc
from tests.conftest import WEIGHTS
from tests.parity.compare import CaseRun, _row
from textregion import ClassWords, TextRegionSegmenter, UserError

PARITY = WEIGHTS.parent
SEMANTIC_CASES = sorted(path.parent.name for path in PARITY.glob("semantic_*/case.json"))
COUNT = 5
SMALL = ["--cfg-options", f"rendered.count={COUNT}", "rendered.size_hw=[80,112]", "--points_per_side", "5"]
SMALL += ["--scale", "128", "96", "--device", "cpu"]
CONFIG = "configs/cfg_ds/cfg_scenes.py"


@pytest.mark.parametrize("name", SEMANTIC_CASES)
def test_recorded_stages_through_the_mmseg_model(name: str) -> None:
    run = CaseRun(PARITY / name, WEIGHTS)
    model = TextRegionSegmentor(str(PARITY / name / "classes.txt"), segmenter=run.segmenter)
    assert list(model.words.class_of) == run.case["query_idx"]
    inputs = [torch.from_numpy(run.image).permute(2, 0, 1)]
    (sample,) = model.test_step({"inputs": inputs, "data_samples": [SegDataSample()]})
    (probabilities,) = model(inputs, mode="tensor")
    rows = [
        _row("out.pred", run.recorded["out.pred"], sample.pred_sem_seg.data),
        _row("out.seg_probs", run.recorded["out.seg_probs"], probabilities),
    ]
    assert all(row.ok for row in rows), "\n".join(map(str, rows))
    assert torch.allclose(sample.confidence.data[0], probabilities.amax(0))


def test_model_has_no_loss_and_gives_tokens(segmenters: dict[str, TextRegionSegmenter]) -> None:
    model = TextRegionSegmentor("configs/cls_voc20.txt", segmenter=segmenters["clip"])
    with pytest.raises(NotImplementedError, match="training-free"):
        model(torch.zeros(1, 3, 8, 8), mode="loss")
    (regions,) = model.extract_feat(torch.randint(0, 256, (1, 3, 40, 60), dtype=torch.uint8))
    assert regions.size_hw == (40, 60)


def test_published_architectures() -> None:
    assert semantic_architecture(None, None, None) is None  # the miniatures
    assert semantic_architecture(None, None, "facebook/sam2.1-hiera-large") == "ViT-B/16"
    assert semantic_architecture(None, "meta", None) == "PE-Core-B16-224"
    assert semantic_architecture("ViT-L/14", "openai", None) == "ViT-L/14"
    shown = {name for names in PUBLISHED_MODELS.values() for name in names} | set(PUBLISHED_MODELS)
    assert all(name in eval_semantic.PUBLISHED for name in shown)


def test_class_count() -> None:
    with pytest.raises(UserError, match="names 2 classes, but D has 3"):
        check_class_count(ClassWords.from_lines(["a; b", "c"]), "words.txt", ["a", "b", "c"], "D")


def _samples(classes: int, ignored: int) -> list[dict[str, Any]]:
    """Random predictions and truths of four classes out of five, some pixels ignored."""
    rng = np.random.default_rng(0)
    samples = []
    for number in range(6):
        predicted, truth = rng.integers(0, classes - 1, (2, 1, 9, 7))
        truth[rng.random(truth.shape) < 0.2] = ignored
        samples.append(
            {
                "img_path": f"/data/city/{number}.png",
                "pred_sem_seg": {"data": torch.from_numpy(predicted)},
                "gt_sem_seg": {"data": torch.from_numpy(truth)},
                "stage_seconds": {"masks": 0.5, "text": 1.0},
            }
        )
    return samples


def numpy_scores(pairs: Iterator[tuple[np.ndarray, np.ndarray]], classes: int, ignored: int) -> dict[str, Any]:
    """mIoU, aAcc and mAcc in percent of (truth, prediction) pairs, by a confusion matrix."""
    confusion = np.zeros((classes, classes), np.int64)
    for truth, predicted in pairs:
        valid = truth != ignored
        np.add.at(confusion, (truth[valid].astype(int), predicted[valid].astype(int)), 1)
    hits, labelled, found = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    with np.errstate(invalid="ignore"):
        iou, accuracy = hits / (labelled + found - hits), hits / labelled
    means = {"mIoU": np.nanmean(iou), "aAcc": hits.sum() / labelled.sum(), "mAcc": np.nanmean(accuracy)}
    return {name: round(float(value) * 100, 2) for name, value in means.items()} | {"IoU": np.round(iou * 100, 2)}


def _metric(folder: Path, names: list[str], rank: int = 0, ignored: int = 255) -> RecordedIoUMetric:
    work = WorkDir.__new__(WorkDir)
    work._folder, work._settings, work._done = folder, {}, {}
    work._done = work._read_others(folder / f"records.rank{rank}.jsonl")
    work._own = RecordFile(folder / f"records.rank{rank}.jsonl", {})
    keys = {f"/data/{name}": f"{name}/digest" for name in names}
    metric = RecordedIoUMetric(work, Processes(), keys, ignore_index=ignored)
    metric.dataset_meta = {"classes": ["a", "b", "c", "d", "never"]}
    return metric


@pytest.mark.parametrize("ignored", [255, 65535])
def test_counts_do_not_depend_on_order_or_processes(tmp_path: Path, ignored: int) -> None:
    samples = _samples(5, ignored)
    keys = [f"city/{number}.png" for number in range(6)]
    shares = ([samples], [samples[::-1]], [samples[3:], samples[:4]])  # the last: three processes' worth, one twice
    results = []
    for number, share in enumerate(shares):
        folder = tmp_path / str(number)
        metrics = [_metric(folder, keys, rank, ignored) for rank in range(len(share))]
        for metric, part in zip(metrics, share):
            metric.process(None, part)
        results.append(metrics[0].evaluate(6))
    assert len({json.dumps(result) for result in results}) == 1
    pairs = ((each["gt_sem_seg"]["data"].numpy(), each["pred_sem_seg"]["data"].numpy()) for each in samples)
    expected = numpy_scores(pairs, 5, ignored)
    assert {name: results[0][name] for name in ("mIoU", "aAcc", "mAcc")} == {
        name: expected[name] for name in ("mIoU", "aAcc", "mAcc")
    }
    assert results[0]["timing"] == {"seconds_per_picture": {"masks": 0.5, "text": 1.0, "all": 1.5}}
    assert class_table(results[0]).splitlines()[-1].split() == ["never", "-", "-"]


def test_a_picture_without_result_is_named(tmp_path: Path) -> None:
    metric = _metric(tmp_path, ["city/0.png", "city/9.png"])
    metric.process(None, _samples(5, 255)[:1])
    with pytest.raises(UserError, match=r"1 pictures have no result \(first '/data/city/9.png'\)"):
        metric.evaluate(2)


def _command(folder: Path, *more: str) -> list[str]:
    return ["--config", CONFIG, "--data-root", str(folder / "data"), *SMALL, *more]


def _args(monkeypatch: pytest.MonkeyPatch, *given: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["eval_semantic.py", *given])
    return eval_semantic.parse_args()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One process, from the first picture to the last: its folder and results."""
    folder = tmp_path_factory.mktemp("semantic")
    with pytest.MonkeyPatch.context() as monkeypatch:
        given = _command(folder, "--work-dir", str(folder / "whole"), "--show-dir", str(folder / "shown"))
        results = evaluate(_args(monkeypatch, *given))
    assert results is not None
    return folder, results


def test_scores_are_those_of_the_saved_label_maps(uninterrupted: tuple[Path, dict[str, Any]]) -> None:
    folder, results = uninterrupted
    truths = sorted((folder / "data/scenes/SegmentationClass").glob("*.png"))
    assert len(truths) == results["pictures"] == COUNT
    pairs = ((np.array(Image.open(path)), np.array(Image.open(folder / "shown/labels" / path.name))) for path in truths)
    expected = numpy_scores(pairs, 19, 255)
    assert [results[name] for name in ("mIoU", "aAcc", "mAcc")] == [expected[n] for n in ("mIoU", "aAcc", "mAcc")]
    per_class = np.array([values["IoU"] for values in results["per_class"].values()], dtype=float)
    assert np.array_equal(per_class, expected["IoU"], equal_nan=True)

    written = json.loads((folder / "whole/results.json").read_text())
    assert written["mIoU"] == results["mIoU"]
    assert written["settings"]["options"]["points_per_side"] == 5
    assert (written["settings"]["dataset"], written["settings"]["requested"]["limit"]) == ("scenes", None)
    assert max(written["settings"]["class_of"]) == 18
    assert len(written["settings"]["class_of"]) == len(written["settings"]["words"])
    assert written["versions"]["python"] == platform.python_version()
    assert {"masks", "image tower", "text", "painting", "all"} <= set(written["timing"]["seconds_per_picture"])
    assert (folder / "whole/results.txt").read_text().startswith(f"scenes  mIoU {results['mIoU']:.2f}  aAcc")
    with Image.open(folder / "shown/overlays" / truths[0].name) as overlay:
        assert overlay.width > 3 * 112


@pytest.fixture
def quick_models(segmenters: dict[str, TextRegionSegmenter], monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models, loaded already."""
    monkeypatch.setattr("eval.semantic.run.load_segmenter", lambda *_, **__: segmenters["clip"])


def _orientations(folder: Path) -> list[str]:
    """One scene, and one that is square, stored as each EXIF orientation asks; names with their labels' variants.

    Pictures and labels are lossless, so that all of a scene are the same once they are upright.
    """
    stems = []
    for shape in ((80, 112), (96, 96)):
        scene = render_scene(5, shape)
        labels = Image.fromarray(scene.labels(VOC_CLASSES, ignore=0))
        for orientation, undo in enumerate([None, *_UNDO], 1):
            exif = Image.Exif()
            exif[0x0112] = orientation
            stem = f"{shape[1]}_{orientation}"
            picture = Image.fromarray(scene.image)
            stored = picture if undo is None else picture.transpose(undo)
            (folder / "JPEGImages").mkdir(parents=True, exist_ok=True)
            (folder / "SegmentationClass").mkdir(exist_ok=True)
            stored.save(folder / "JPEGImages" / f"{stem}.png", exif=exif)
            labels.save(folder / "SegmentationClass" / f"{stem}.png")
            stems.append(stem)
    (folder / "ImageSets/Segmentation").mkdir(parents=True)
    (folder / "ImageSets/Segmentation/val.txt").write_text("\n".join(stems))
    return stems


_UNDO = (
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.ROTATE_180,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_90,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_270,
)
"""What stores an upright picture so that EXIF orientation 2, 3, ... 8 puts it upright."""


def test_pictures_that_exif_turns_are_judged_upright(
    quick_models: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stems = _orientations(tmp_path / "data/scenes")
    where = ["--data-root", str(tmp_path / "data"), "--work-dir", str(tmp_path / "work")]
    given = ["--config", CONFIG, *where, "--show-dir", str(tmp_path / "shown"), "--device", "cpu"]
    results = evaluate(_args(monkeypatch, *given))
    assert results is not None and results["pictures"] == len(stems) == 16
    counts: dict[str, set[str]] = {}
    for line in (tmp_path / "work/records.rank0.jsonl").read_text().splitlines()[1:]:
        record = json.loads(line)
        of = {name: record[name] for name in ("classes", "intersection", "union", "predicted", "labelled")}
        counts.setdefault(record["key"].split("_")[0], set()).add(json.dumps(of))
    assert {shape: len(different) for shape, different in counts.items()} == {"112": 1, "96": 1}
    for shape in ("112", "96"):
        drawn = [np.array(Image.open(tmp_path / f"shown/labels/{shape}_{number}.png")) for number in range(1, 9)]
        assert all(np.array_equal(drawn[0], other) for other in drawn)
        panels = [Image.open(tmp_path / f"shown/overlays/{shape}_{number}.png").tobytes() for number in range(1, 9)]
        assert len(set(panels)) == 1


def test_records_of_changed_data_are_not_taken_up(
    quick_models: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data/scenes"
    write_voc(folder, [render_scene(seed, (80, 112)) for seed in (5, 6)])
    given = ["--config", CONFIG, "--data-root", str(tmp_path / "data"), "--work-dir", str(tmp_path / "work")]

    def run() -> dict[str, Any]:
        results = evaluate(_args(monkeypatch, *given, "--device", "cpu"))
        assert results is not None
        return results

    first = run()
    records = tmp_path / "work/records.rank0.jsonl"
    assert len(records.read_text().splitlines()) == 1 + 2
    run()
    assert len(records.read_text().splitlines()) == 1 + 2
    path = folder / "SegmentationClass/scene_000001.png"
    Image.fromarray(np.array(Image.open(path))[::-1]).save(path)
    assert run()["aAcc"] != first["aAcc"]
    assert len(records.read_text().splitlines()) == 1 + 3
    write_picture(folder / "JPEGImages/scene_000000.jpg", render_scene(7, (80, 112)).image)
    run()
    assert len(records.read_text().splitlines()) == 1 + 4


def test_a_finished_run_is_not_done_again_but_drawn_where_it_was_not(
    uninterrupted: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, results = uninterrupted
    records = folder / "whole/records.rank0.jsonl"
    before = records.read_bytes()
    counted: list[str] = []
    count = RecordedIoUMetric._count
    monkeypatch.setattr(
        RecordedIoUMetric, "_count", lambda self, sample: counted.append(sample["img_path"]) or count(self, sample)
    )
    asked: list[int] = []
    predict = TextRegionSegmentor.predict
    monkeypatch.setattr(
        TextRegionSegmentor,
        "predict",
        lambda self, inputs, samples: asked.append(len(inputs)) or predict(self, inputs, samples),
    )
    given = _command(folder, "--work-dir", str(folder / "whole"))
    again = evaluate(_args(monkeypatch, *given))
    assert again is not None
    assert (again["mIoU"], again["pictures"]) == (results["mIoU"], COUNT)
    shown = folder / "shown"
    gone = sorted((shown / "labels").iterdir())[1:3]
    contents = [path.read_bytes() for path in gone]
    for path in gone:
        path.unlink()
    evaluate(_args(monkeypatch, *given, "--show-dir", str(shown)))
    assert [path.read_bytes() for path in gone] == contents
    assert counted == []
    assert asked == [1, 1]
    assert records.read_bytes() == before


def test_bad_labels_are_found_before_models_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data/scenes"
    write_voc(folder, [render_scene(seed, (80, 112)) for seed in (5, 6)])
    labels = sorted((folder / "SegmentationClass").iterdir())[1]
    Image.fromarray(np.full((80, 112), 200, np.uint8)).save(labels)
    given = ["--config", CONFIG, "--data-root", str(tmp_path / "data"), "--work-dir", str(tmp_path / "work")]
    monkeypatch.delattr("eval.semantic.run.load_segmenter")
    with pytest.raises(UserError, match=labels.name):
        evaluate(_args(monkeypatch, *given, "--device", "cpu"))


def test_killed_and_continued_in_two_processes(uninterrupted: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = uninterrupted
    given = _command(folder, "--work-dir", str(folder / "killed"))
    records = folder / "killed/records.rank0.jsonl"
    records.parent.mkdir()
    kept = b"".join((folder / "whole/records.rank0.jsonl").read_bytes().splitlines(keepends=True)[: 1 + 2])
    records.write_bytes(kept + b'{"key": "JPEGIm')  # as if it had been killed while writing the third

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    finished = subprocess.run(
        [*torchrun, "eval_semantic.py", *given, "--launcher", "pytorch"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert finished.stdout.count("mIoU") == 1
    files = sorted((folder / "killed").glob("records.rank*.jsonl"))
    keys = [json.loads(line)["key"] for file in files for line in file.read_text().splitlines()[1:]]
    assert len(keys) == len(set(keys)) == COUNT
    assert records.read_bytes().startswith(kept)
    assert _without_time(folder / "killed/results.json") == _without_time(folder / "whole/results.json")


def _without_time(path: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads(path.read_text())
    del results["timing"], results["revision"]  # a commit in the middle of the test is no difference
    return results


def test_other_settings_and_second_runs_are_refused(
    uninterrupted: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = uninterrupted
    given = _command(folder, "--work-dir", str(folder / "whole"))
    with pytest.raises(UserError, match=r"options.min_size = \d+, but this run has 99"):
        evaluate(_args(monkeypatch, *given, "--min_size", "99"))
    with RecordFile(folder / "busy/records.rank0.jsonl", {}), pytest.raises(UserError, match=f"process {os.getpid()}"):
        evaluate(_args(monkeypatch, *_command(folder, "--work-dir", str(folder / "busy"))))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--data-root", "/nowhere", "--config", "configs/cfg_ds/cfg_voc21.py"], "'/nowhere/VOCdevkit/VOC2012'"),
        (["--config", "none.py"], "'none.py' does not exist"),
        (["--config", CONFIG, "--limit", "0"], "--limit must be at least 1"),
        (["--config", CONFIG, "--launcher", "pytorch"], "needs torchrun"),
        (["--config", CONFIG, "--launcher", "slurm"], "needs SLURM_PROCID"),
        (["--config", CONFIG, "--cfg-options", "model.options.prob_th=1"], "did you mean 'prob_thd'"),
        (["--config", CONFIG, "--cfg-options", "model.class_file=configs/cls_voc20.txt"], "names 20 classes"),
        (["--config", CONFIG, "--clip_architecture", "ViT-B/17"], "Unknown architecture"),
    ],
)
def test_bad_input_is_known_before_models_are_loaded(
    given: list[str],
    message: str,
    uninterrupted: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("models were loaded")

    monkeypatch.setattr("eval.semantic.run.load_segmenter", load)
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    root = [] if "--data-root" in given else ["--data-root", str(uninterrupted[0] / "data")]
    with pytest.raises(UserError) as caught:
        evaluate(_args(monkeypatch, *given, *root, "--work-dir", str(tmp_path / "work")))
    assert message in str(caught.value)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("option", ["--work-dir", "--show-dir"])
def test_a_file_in_the_place_of_a_folder_is_known_before_models_are_loaded(
    option: str, quick_models: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("eval.semantic.run.load_segmenter")
    (tmp_path / "taken").touch()
    folders = {
        "--work-dir": str(tmp_path / "work"),
        "--show-dir": str(tmp_path / "shown"),
        option: str(tmp_path / "taken"),
    }
    given = ["--config", CONFIG, "--data-root", str(tmp_path / "data"), "--device", "cpu"]
    with pytest.raises(
        UserError, match=r"^Folder .*taken' cannot be written \(.* is a file where a folder is wanted\)"
    ):
        evaluate(_args(monkeypatch, *given, *(part for pair in folders.items() for part in pair)))
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_file_in_the_place_of_the_sweeps_folder_ends_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(subprocess, "run")
    (tmp_path / "taken").touch()
    monkeypatch.setattr(
        sys, "argv", ["eval_all_semantic.py", "--datasets", "scenes", "--work-dir", str(tmp_path / "taken")]
    )
    with pytest.raises(UserError, match=r"taken' is a file where a folder is wanted"):
        eval_all_semantic.main()


def test_scenes_that_cannot_be_rendered_name_what_is_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scenes").touch()
    given = ["--config", CONFIG, "--data-root", str(tmp_path), "--device", "cpu", "--work-dir", str(tmp_path / "work")]
    with pytest.raises(UserError, match=r"scenes' is a file where a folder is wanted\): move it away"):
        evaluate(_args(monkeypatch, *given, *SMALL))


def _put_finished(run: Path, sweep: Path) -> None:
    """The results of a run where a sweep looks for what is finished."""
    (sweep / "scenes").mkdir()
    (sweep / "scenes/results.json").write_bytes((run / "whole/results.json").read_bytes())


def test_sweep_makes_a_table_of_what_is_there(
    uninterrupted: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, results = uninterrupted
    shared = ["--data-root", str(folder / "data"), *SMALL]
    _put_finished(folder, tmp_path)
    started = []

    def fail(name: str, *_: Any) -> int:
        started.append(name)
        return 3

    def missing(name: str, args: Any) -> str | None:
        return "/data/cityscapes" if name == "city_scapes" else None

    monkeypatch.setattr(eval_all_semantic, "_evaluate", fail)
    monkeypatch.setattr(eval_all_semantic, "_missing", missing)
    monkeypatch.setattr(eval_all_semantic, "_with_models", lambda name, args: args)
    monkeypatch.setattr(eval_all_semantic, "_chosen", lambda name, args: args)
    names = ["--datasets", "ade20k", "city_scapes", "scenes"]
    monkeypatch.setattr(sys, "argv", ["eval_all_semantic.py", *shared, *names, "--work-dir", str(tmp_path)])
    assert eval_all_semantic.main() == 1
    assert started == ["ade20k"]  # the finished one is not done again
    assert "city_scapes: skipped: /data/cityscapes is missing" in capsys.readouterr().out
    table = (tmp_path / "table.md").read_text()
    assert f"| rendered scenes | {COUNT} | {results['mIoU']:.2f} |" in table
    assert "| ADE20K | failed with exit status 3 | - | - | - | 22.8 | 27.3 |" in table
    assert (tmp_path / "results.txt").read_text() == (folder / "whole/results.txt").read_text()
    assert Image.open(tmp_path / "chart.png").format == "PNG"


def test_an_option_that_one_data_set_lacks_ends_that_one_alone(
    uninterrupted: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, results = uninterrupted
    _put_finished(folder, tmp_path)

    def sweep(*given: str) -> int:
        shared = ["--data-root", str(folder / "data"), *SMALL, "--work-dir", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", ["eval_all_semantic.py", *shared, *given])
        return eval_all_semantic.main()

    assert sweep("--datasets", "voc21", "scenes") == 1
    written = capsys.readouterr()
    assert "voc21: " in written.err and "'rendered'" in written.err
    assert f"scenes  mIoU {results['mIoU']:.2f}" in written.out
    assert "| VOC21 | failed with exit status 2 |" in (tmp_path / "table.md").read_text()
    with pytest.raises(UserError, match="'rendered'"):  # wrong for all that were asked for
        sweep("--datasets", "voc21", "ade20k")


def test_sweep_hands_its_options_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def record(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0 if len(commands) > 1 else -9)

    monkeypatch.setattr(subprocess, "run", record)
    monkeypatch.setattr(eval_all_semantic, "_missing", lambda *_: None)
    given = [
        "--datasets",
        "voc21",
        "--limit",
        "3",
        "--fuse_mask",
        "False",
        "--show-dir",
        "shown",
        "--scale",
        "64",
        "32",
    ]
    monkeypatch.setattr(sys, "argv", ["eval_all_semantic.py", *given, "--work-dir", str(tmp_path)])
    assert eval_all_semantic.main() == 1  # killed by a signal
    (command,) = commands
    monkeypatch.setattr(sys, "argv", command[1:])
    args = eval_semantic.parse_args()
    assert (args.limit, args.fuse_mask, args.scale) == (3, False, [64, 32])
    assert args.show_dir == Path("shown/voc21")
    assert args.work_dir == tmp_path / "voc21"
    assert requested(args)["options"] == {"fuse_mask": False, "scale": [64, 32]}


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        (["--sam2_checkpoint", "sam2.pt"], "laion2b_s32b_b79k"),
        (["--clip_architecture", "ViT-H/14"], "laion2b_s32b_b79k"),
        (["--clip_architecture", "ViT-B/16"], None),
        (["--clip_pretrained", "siglip2"], "siglip2"),
        (["--sam2_checkpoint", "sam2.pt", "--cfg-options", "model.comma_names=False"], "meta"),
        ([], None),  # the pair for photos
    ],
)
def test_the_sweeps_own_weights_reach_every_evaluation_and_tell_finished_ones(
    given: list[str], weights: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def record(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 9)

    monkeypatch.setattr(subprocess, "run", record)
    monkeypatch.setattr(eval_all_semantic, "_missing", lambda *_: None)
    if weights == "meta":  # the config's own model
        config = tmp_path / "cfg_voc21.py"
        config.write_text(
            (ROOT / "configs/cfg_ds/cfg_voc21.py").read_text().replace("../base", str(ROOT / "configs/base"))
        )
        config.write_text(config.read_text() + "\nmodel.update(clip_pretrained='meta', comma_names=True)\n")
        monkeypatch.setattr(eval_all_semantic, "_config", lambda name: str(config))
    line = ["eval_all_semantic.py", *given, "--datasets", "voc21", "--work-dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", line)
    assert eval_all_semantic.main() == 1
    monkeypatch.setattr(sys, "argv", commands[0][1:])
    args = eval_semantic.parse_args()
    assert args.clip_pretrained == weights
    chosen = eval_all_semantic._chosen("voc21", args)
    assert chosen.sam2_checkpoint == (args.sam2_checkpoint if given else "facebook/sam2.1-hiera-tiny")
    asked = {"settings": {"requested": requested(chosen)}, "pictures": 1, "dataset": "voc21"}
    (tmp_path / "voc21").mkdir()
    (tmp_path / "voc21" / "results.json").write_text(json.dumps({**asked, "mIoU": 1.0, "aAcc": 1.0, "mAcc": 1.0}))
    monkeypatch.setattr(sys, "argv", line)
    assert eval_all_semantic.main() == 0
    assert len(commands) == 1


@pytest.mark.parametrize(("count", "mode", "value"), [(3, "L", 255), (255, "L", 255), (256, "I;16", 65535)])
def test_a_predicted_pixel_without_a_class_has_a_value_of_its_own(
    count: int, mode: str, value: int, tmp_path: Path
) -> None:
    Image.new("RGB", (330, 2)).save(tmp_path / "a.png")
    folder = PictureFolder(tmp_path / "shown", str(tmp_path), ["x"] * count, [[9, 9, 9]] * count, 254)
    predicted = torch.full((1, 2, 330), count - 1)
    predicted[0, 1] = -1
    maps = {"gt_sem_seg": {"data": torch.zeros(1, 2, 330)}, "pred_sem_seg": {"data": predicted}}
    folder.draw({"img_path": str(tmp_path / "a.png"), **maps})
    with Image.open(tmp_path / "shown/labels/a.png") as image:
        assert image.mode == mode
        assert np.unique(np.asarray(image)[0]).tolist() == [count - 1]
        assert np.unique(np.asarray(image)[1]).tolist() == [value]


def test_average_of_eight(tmp_path: Path) -> None:
    results = {name: {"pictures": 1, "mIoU": 40.0 + k, "aAcc": 50.0, "mAcc": 60.0} for k, name in enumerate(EIGHT)}
    table = markdown_table(results, {})
    assert f"| {AVERAGE} |  | 43.50 | 50.00 | 60.00 | 46.6 | 49.5 |" in table
    assert "| VOC21 | 1 | 40.00 | 50.00 | 60.00 | 70.9 | ? |" in table
    bar_chart(tmp_path / "chart.png", results)
    assert (tmp_path / "chart.png").stat().st_size > 1000
