"""Masks of one's own: every form that tools make them in, and each its own region, in its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from pycocotools import mask as coco_mask

from textregion import RegionMasks, TextRegionSegmenter, UserError
from textregion.given_masks import check_size, read_masks
from textregion.pooling import to_grid

from .conftest import FAMILIES, WEIGHTS

SCENE = np.array(Image.open(WEIGHTS.parent / "demo_clip" / "image.png").convert("RGB"))
HEIGHT, WIDTH = SCENE.shape[:2]
MASKS = np.zeros((3, 4, 6), bool)
MASKS[0, :2], MASKS[1, 2:, 3:], MASKS[2, 1:3, 1:4] = True, True, True
WORDS = ["red circle", "green square"]


def _changed(segmenter: TextRegionSegmenter, **options: object) -> TextRegionSegmenter:
    return TextRegionSegmenter(
        segmenter.encoder, segmenter.mask_generator, segmenter.options.replace(**options), text=segmenter.text
    )


def _rle(mask: np.ndarray, compressed: bool) -> dict[str, Any]:
    if compressed:
        return dict(coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))))
    flat = mask.ravel(order="F").tolist()
    counts, value, run = [], False, 0
    for pixel in flat:
        if pixel != value:
            counts.append(run)
            value, run = pixel, 0
        run += 1
    return {"size": list(mask.shape), "counts": [*counts, run]}


FORMS: dict[str, Any] = {
    "NumPy booleans": MASKS,
    "PyTorch booleans": torch.from_numpy(MASKS),
    "0 and 255": MASKS.astype(np.uint8) * 255,
    "0 and 7 in PyTorch": torch.from_numpy(MASKS.astype(np.int64) * 7),
    "unsigned 16 bits": MASKS.astype(np.uint16),
    "64-bit floats": MASKS.astype(np.float64),
    "the other byte order": MASKS.astype(">f4"),
    "bfloat16": torch.from_numpy(MASKS).to(torch.bfloat16),
    "logits": np.where(MASKS, 1.0, -20.0),
    "torchvision's (R, 1, H, W)": torch.from_numpy(MASKS)[:, None].float(),
    "a list of masks": list(MASKS),
    "a tuple of tensors": tuple(torch.from_numpy(MASKS)),
    "not contiguous": MASKS.transpose(0, 2, 1).copy().transpose(0, 2, 1),
    "SAM's dicts": [{"segmentation": mask, "area": 3, "bbox": [0, 0, 1, 1]} for mask in MASKS],
    "SAM's dicts with RLE": [{"segmentation": _rle(mask, compressed=True)} for mask in MASKS],
    "SAM's dicts with plain RLE": [{"segmentation": _rle(mask, compressed=False)} for mask in MASKS],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_masks(form: str) -> None:
    regions = RegionMasks.from_masks(FORMS[form])
    assert torch.equal(regions.full() > 0, torch.from_numpy(MASKS))
    assert float(regions.logits.max()) == 1.0
    assert regions.output_hw == (4, 6)
    assert regions.source is not None
    assert regions.source.tolist() == [0, 1, 2]
    assert regions.scores.tolist() == regions.stability.tolist() == [1, 1, 1]


def test_one_mask_soft_values_and_sams_scores() -> None:
    assert len(RegionMasks.from_masks(MASKS[0])) == len(RegionMasks.from_masks(torch.from_numpy(MASKS[0]))) == 1
    assert read_masks(np.array([[-1.0, 0.25, 9.0]])).soft.tolist() == [[[0.0, 0.25, 3.0]]]
    read = read_masks([{"segmentation": MASKS[0], "predicted_iou": 0.75, "stability_score": np.float32(0.5)}, MASKS[1]])
    assert (read.scores.tolist(), read.stability.tolist()) == ([0.75, 1], [0.5, 1])
    assert len(RegionMasks.from_masks(torch.zeros(0, 4, 4))) == 0


REFUSED: dict[str, tuple[Any, str]] = {
    "a path": ("masks.png", "arrays or tensors .* but got 'masks.png'"),
    "nothing in a list": ([], "list of masks is empty"),
    "numbers in a list": ([[0, 1], [1, 0]], r"Mask 0 must be arrays or tensors .* \[0, 1\]"),
    "a label map": (np.array([[0, 1], [2, 2]]), "label map"),
    "negative labels": (torch.tensor([[-1, 0]]), "label map"),
    "NaN": (np.array([[np.nan, 1.0]]), "NaN"),
    "complex numbers": (np.ones((2, 2), complex), "complex128"),
    "texts": (np.array([["a"]]), "arrays or tensors"),
    "in a row": (np.ones(3), r"shape \(3,\)"),
    "three masks a region": (torch.ones(2, 3, 4, 4), r"shape \(2, 3, 4, 4\)"),
    "without pixels": (np.ones((2, 0, 4)), "must be"),
    "of several sizes": ([MASKS[0], MASKS[1][:2]], "mask 0 is 4 x 6 and mask 1 is 2 x 6"),
    "stacks in a list": ([MASKS, MASKS], r"Mask 0 must be \(H, W\)"),
    "a dict without a mask": ([{"bbox": [0, 0, 1, 1]}], "Mask 0 is a dict without 'segmentation'"),
    "a polygon": ([{"segmentation": [[0, 0, 1, 1, 2, 2]]}], "Mask 0"),
    "a score that is none": ([{"segmentation": MASKS[0], "predicted_iou": "good"}], "'predicted_iou' of mask 0"),
    "RLE without counts": ([{"segmentation": {"size": [2, 2]}}], "Mask 0 is no COCO RLE"),
    "RLE of another length": ([{"segmentation": {"size": [2, 2], "counts": [1, 2]}}], "3 pixels of 2 x 2"),
    "RLE of anything": ([{"segmentation": {"size": [2, 2], "counts": "zzz"}}], "Mask 0 is no COCO RLE"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_mask_is_one_sentence(kind: str) -> None:
    masks, said = REFUSED[kind]
    with pytest.raises(UserError, match=said) as caught:
        RegionMasks.from_masks(masks)
    assert "\n" not in str(caught.value)


def _marks() -> torch.Tensor:
    """A band, a speck between patch centres, a quarter, a small square, a single pixel, everything."""
    masks = torch.zeros(6, HEIGHT, WIDTH, dtype=torch.bool)
    masks[0, :50], masks[1, 97:100, 161:164], masks[2, 100:, 200:] = True, True, True
    masks[3, 60:80, 100:120], masks[4, HEIGHT - 1, 0], masks[5] = True, True, True
    return masks


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mask_type": "hard"},
        {"upsample_times": 2},
        {"global_patch_threshold": 5.0},
        {"remove_global_patch": False},
        {"resize_method": "resize"},
        {"mask_size": "original"},
    ],
    ids=str,
)
def test_as_many_regions_as_masks_in_their_order(
    family: str, options: dict[str, Any], segmenters: dict[str, TextRegionSegmenter]
) -> None:
    segmenter, masks = _changed(segmenters[family], **options), _marks()
    regions = segmenter.encode(SCENE, masks)
    assert len(regions) == 6
    assert regions.source is not None
    assert regions.source.tolist() == list(range(6))
    for index, mask in enumerate(masks):
        assert torch.equal(regions.foreground(index), mask)
    torch.testing.assert_close(regions.tokens.norm(dim=1), torch.ones(6), atol=1e-4, rtol=0)
    assert segmenter.segment(regions, WORDS).labels.shape == (HEIGHT, WIDTH)


@settings(max_examples=8)
@given(st.permutations(range(6)), st.sampled_from(FAMILIES))
def test_in_another_order_they_give_the_same_tokens(
    segmenters: dict[str, TextRegionSegmenter], order: list[int], family: str
) -> None:
    encode = segmenters[family].encode
    plain, turned = encode(SCENE, _marks()), encode(SCENE, _marks()[order])
    torch.testing.assert_close(turned.tokens, plain.tokens[order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mask_within_a_patch_has_that_patchs_token(family: str, segmenters: dict[str, TextRegionSegmenter]) -> None:
    segmenter = _changed(segmenters[family], remove_global_patch=False)
    plan = segmenter._plan((segmenter._resize(SCENE).shape[0], segmenter._resize(SCENE).shape[1]))
    rows, cols = plan.grid_hw
    top, left = 3 * HEIGHT // rows, 5 * WIDTH // cols
    masks = torch.zeros(2, HEIGHT, WIDTH)
    masks[0, top + 1 : top + 3, left + 1 : left + 3] = 1.0  # its corner, far from its centre
    assert float(to_grid(RegionMasks.from_masks(masks), plan.grid_hw)[0].sum()) == 0
    small = segmenter.encode(SCENE, masks[:1])
    grid = torch.zeros(1, rows * cols)
    grid[0, 3 * cols + 5] = 1.0
    whole, _, _ = segmenter._pool(small.region_masks, grid, _values(segmenter), plan)
    torch.testing.assert_close(small.tokens, whole, atol=1e-5, rtol=0)


@torch.no_grad()
def _values(segmenter: TextRegionSegmenter) -> torch.Tensor:
    resized = segmenter._resize(SCENE)
    return segmenter._patch_features(resized, segmenter._plan((resized.shape[0], resized.shape[1])), False).values


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mask_of_global_patches_only_keeps_them(family: str, segmenters: dict[str, TextRegionSegmenter]) -> None:
    off = _changed(segmenters[family], remove_global_patch=False, normalize_values=False)
    on = _changed(segmenters[family], normalize_values=False)
    masks = _marks()
    locality = on.encode(SCENE, masks).locality
    assert locality is not None
    # Just above the most that one mask's patches have, so that all of them are filtered, and some of the picture stay.
    plan = on._plan((208, 312))
    most = [
        float(locality.flatten()[row > 0].max()) for row in to_grid(RegionMasks.from_masks(masks[[0, 2]]), plan.grid_hw)
    ]
    emptied = (0, 2)[int(np.argmin(most))]
    threshold = min(most) + 1e-6
    strict = _changed(on, global_patch_threshold=threshold).encode(SCENE, masks)
    plain = off.encode(SCENE, masks)
    torch.testing.assert_close(strict.tokens[emptied], plain.tokens[emptied], atol=1e-5, rtol=0)
    assert not torch.allclose(strict.tokens[5], plain.tokens[5], atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mask_type", ["soft", "hard"])
def test_an_empty_mask_is_named_by_its_place(
    family: str, mask_type: str, segmenters: dict[str, TextRegionSegmenter]
) -> None:
    masks = torch.zeros(3, HEIGHT, WIDTH)
    masks[0, :90], masks[1, 7, 9] = 1.0, 2.0**-20
    segmenter = _changed(segmenters[family], mask_type=mask_type)
    assert len(segmenter.encode(SCENE, masks[:2])) == 2
    with pytest.raises(UserError, match=r"Mask 2 \(counted from 0\) is empty"):
        segmenter.encode(SCENE, masks)
    with pytest.raises(UserError, match="Mask 2 "):
        segmenter.encode(SCENE, RegionMasks.from_masks(masks)[[2, 0]])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_thousand_specks(family: str, segmenters: dict[str, TextRegionSegmenter]) -> None:
    places = np.random.default_rng(0).permutation(64 * 96)[:1000]
    masks = np.zeros((1000, 64 * 96), bool)
    masks[np.arange(1000), places] = True
    regions = segmenters[family].encode(SCENE, masks.reshape(1000, 64, 96))
    assert len(regions) == 1000
    assert bool(regions.tokens.isfinite().all())
    neighbours = np.flatnonzero(np.diff(np.sort(places)) == 1)
    assert len(neighbours) > 10  # pixels side by side lie in one patch nearly always, and then have one token
    order = np.argsort(places)
    alike = (regions.tokens[order[neighbours]] * regions.tokens[order[neighbours + 1]]).sum(1)
    assert float((alike > 0.999).float().mean()) > 0.5


def test_sam2s_own_masks_are_filtered_as_they_were_when_given_back(segmenters: dict[str, TextRegionSegmenter]) -> None:
    segmenter = segmenters["clip"]
    regions = segmenter.encode(SCENE)
    assert regions.source is None
    generated = segmenter.mask_generator.generate(segmenter._resize(SCENE), (208, 312), segmenter.options)
    again = segmenter.encode(SCENE, generated)
    assert again.source is None
    assert torch.equal(again.tokens, regions.tokens)


@pytest.mark.parametrize(
    ("masks_hw", "picture_hw"),
    [
        ((720, 960), (720, 960)),
        ((1440, 1920), (720, 960)),
        ((90, 120), (720, 960)),
        ((192, 256), (720, 960)),
        ((672, 896), (720, 960)),
        ((256, 161), (1000, 629)),  # rounded
        ((1, 1), (3, 500)),
        ((37, 50), (333, 449)),
    ],
)
def test_masks_in_the_pictures_shape_fit(masks_hw: tuple[int, int], picture_hw: tuple[int, int]) -> None:
    check_size(masks_hw, picture_hw, None)
    check_size(masks_hw, picture_hw, Image.Transpose.ROTATE_90)


@pytest.mark.parametrize(
    ("masks_hw", "picture_hw"),
    [((256, 256), (720, 960)), ((960, 720), (720, 960)), ((700, 960), (720, 960)), ((501, 500), (500, 501))],
)
def test_masks_in_another_shape_are_refused_with_both_sizes(
    masks_hw: tuple[int, int], picture_hw: tuple[int, int]
) -> None:
    sizes = [f"{height} x {width}" for height, width in (masks_hw, picture_hw)]
    with pytest.raises(UserError, match="{} pixels .* {}:".format(*sizes)) as caught:
        check_size(masks_hw, picture_hw, Image.Transpose.ROTATE_180)
    assert f"output_hw={picture_hw}" in str(caught.value)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_masks_of_the_stored_picture_are_refused_with_how_to_turn_them(
    orientation: int, segmenters: dict[str, TextRegionSegmenter]
) -> None:
    picture = Image.fromarray(SCENE)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture.info["exif"] = exif.tobytes()
    upright_hw = WIDTH, HEIGHT
    stored = np.zeros((2, HEIGHT, WIDTH), bool)
    stored[0, 20:120, 30:90], stored[1, 100:, 200:] = True, True
    encode = segmenters["clip"].encode
    for masks in (stored, stored[:, ::2, ::2]):
        size = f"{masks.shape[1]} x {masks.shape[2]}"
        with pytest.raises(UserError, match=f"Masks of {size} pixels .* as it is stored") as caught:
            encode(picture, masks)
    remedy = str(caught.value).split("as well, ")[1].removesuffix(".")
    turned = eval(remedy, {"numpy": np, "masks": stored})
    assert turned.shape[1:] == upright_hw
    regions = encode(picture, turned)
    # What a mask covers is the same part of the scene: its mean colour says so.
    upright = np.array(picture.transpose(_TURNS[orientation]))
    for index, mask in enumerate(stored):
        np.testing.assert_array_equal(np.sort(upright[turned[index]], 0), np.sort(SCENE[mask], 0))
        assert torch.equal(regions.foreground(index), torch.from_numpy(turned[index].copy()))


_TURNS = {
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def test_squeezed_masks_say_what_picture_they_belong_to(segmenters: dict[str, TextRegionSegmenter]) -> None:
    square = torch.zeros(1, 64, 64)
    square[0, :32] = 5.0
    encode = segmenters["pe"].encode
    with pytest.raises(UserError, match="SAM's square logits"):
        encode(SCENE, square)
    regions = encode(SCENE, RegionMasks.from_masks(square, (HEIGHT, WIDTH)))
    assert bool(regions.foreground(0)[: HEIGHT // 2 - 4].all())
    assert not bool(regions.foreground(0)[HEIGHT // 2 + 4 :].any())
    # and those of the method's own resized picture fit it, whatever its shape
    squeezed = _changed(segmenters["clip"], resize_method="resize")
    assert len(squeezed.encode(SCENE, RegionMasks.from_masks(torch.ones(1, 96, 96)))) == 1
