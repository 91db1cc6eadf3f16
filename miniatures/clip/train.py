"""Train the miniature CLIP on rendered scenes, from pictures and captions alone.

    python -m miniatures.clip.train --device cpu

renders the pictures (about 4 minutes; they stay for the next run) and trains for 5,500 steps: 45 minutes on a
core to itself at 0.5 s a step, 75 on a busy one; after an interruption the same line with --resume goes on.
The bundled weights had their first 2,000 steps from an earlier form of this script: AdamW for all weights,
windows not yet made to share out the caption, 76,938 of the 99,176 pictures (textregion/bundled/MODEL_CARD.md).

What it learns from: each picture's caption, taken as the set of names that it lists, and as a sentence. Five
contrastive terms, every one of them over pictures against texts:
- class token against names, and against whole sentences;
- the last block's values pooled over the picture, through the head that TextRegion uses, against names;
- the same head on small windows of patches, a name scored by its soft maximum over them (as in FILIP);
- windows share out the caption: each speaks of a listed name, and each listed name has a window of its own;
- a part of each batch is mosaics of four pictures; each quarter's values answer to its own picture's caption.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES
from safetensors.torch import load_file, save_file
from torch import Tensor

from miniatures.clip.model import Tokenizer, build_clip, encode_pictures, encode_words, pooled_head
from miniatures.clip.pictures import FAINT, NAMED, Pictures, load_pool, render_pool, vocabulary
from miniatures.clip.scores import normalize, score_closeups, score_regions
from miniatures.scenes import GROUNDS, PARTS, THINGS

logger = logging.getLogger("train_clip_miniature")

PLAIN_TEMPLATES = ("{}", "a {}", "the {}", "a photo of a {}.", "a picture of a {}", "{} in a picture")
PATCH_FOCUS = 20.0  # sharpness of the soft maximum over windows
MAX_LOGIT_SCALE = 50.0  # segmentation multiplies cosines by 50


def picture_name_loss(logits: Tensor, says: Tensor) -> Tensor:
    """Contrast names that captions list with names that they do not, both ways.

    logits: (B, K). says: (B, K). A listed pair stands against the unlisted names of its picture, and against
    the pictures that do not list its name; what a caption leaves open takes no part.
    """
    listed, denied = says == NAMED, says < FAINT
    against = logits.masked_fill(~denied, -torch.inf)
    margins = [against.logsumexp(dim=d, keepdim=True) - logits for d in (0, 1)]
    return F.softplus(torch.stack(margins)[:, listed]).mean()


def window_loss(logits: Tensor, says: Tensor) -> Tensor:
    """Windows (B, P, K) share out the names of their caption (B, K).

    Each window speaks of some listed name and of no unlisted one, and each listed name has a window of its own,
    where it is ahead of every other name. Names that a caption leaves open take no part.
    """
    listed = says == NAMED
    shares = logits.masked_fill((says == FAINT)[:, None], -1e4).log_softmax(dim=-1)
    spoken = shares.masked_fill(~listed[:, None], -1e4).logsumexp(dim=-1)
    owned = (shares.softmax(dim=1) * shares).sum(dim=1)
    return -spoken[listed.any(dim=1)].mean() - owned[listed].mean()


def sentence_loss(logits: Tensor, sentences: Sequence[str]) -> Tensor:
    """CLIP's loss over (B, B); a sentence that occurs twice is no negative of itself."""
    target = torch.arange(len(logits), device=logits.device)
    same = torch.tensor([[a == b for b in sentences] for a in sentences], device=logits.device)
    same[target, target] = False
    logits = logits.masked_fill(same, -torch.inf)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def tile_quarters(images: Tensor) -> Tensor:
    """(4 M, C, S, S) -> M mosaics (M, C, 2 S, 2 S), each of four pictures in a row."""
    return images.unflatten(0, (-1, 2, 2)).permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def cut_quarters(grids: Tensor) -> Tensor:
    """The inverse: (M, C, 2 g, 2 g) -> (4 M, C, g, g)."""
    side = grids.shape[-1] // 2
    return grids.unflatten(3, (2, side)).unflatten(2, (2, side)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


@dataclass
class Trainer:
    """A model with what a step needs; every random choice of step n follows from the seed and n."""

    model: open_clip.CLIP
    tokenizer: Tokenizer
    pictures: Pictures
    options: argparse.Namespace

    def __post_init__(self) -> None:
        self.names = vocabulary()
        self.device = next(self.model.parameters()).device
        roles = dict.fromkeys(THINGS, "thing") | dict.fromkeys(GROUNDS, "ground") | dict.fromkeys(PARTS, "part")
        asked = (("thing", "ground"), ("thing", "ground", "part"), ("coloured thing", "ground"))
        self.questions = [  # the names that windows are asked to tell apart: never a thing with and without colour
            torch.tensor([roles.get(name, "coloured thing") in question for name in self.names], device=self.device)
            for question in asked
        ]
        templates = [t("{}") for t in OPENAI_IMAGENET_TEMPLATES] + list(PLAIN_TEMPLATES) * 5
        rows = [self.tokenizer([template.format(name) for template in templates]) for name in self.names]
        self.name_tokens = torch.stack(rows).to(self.device)  # (K, templates, 77)
        self.optimizers = self._build_optimizers()

    def _build_optimizers(self) -> list[torch.optim.Optimizer]:
        """Muon for the matrices inside the blocks, AdamW for everything else; the text tower goes slower."""
        matrices: dict[float, list[Tensor]] = {}
        others: dict[float, list[Tensor]] = {}
        for key, value in self.model.named_parameters():
            if value.requires_grad:
                share = 1.0 if key.startswith("visual.") or key == "logit_scale" else 0.3
                group = matrices if ".resblocks." in key and value.ndim == 2 else others
                group.setdefault(share, []).append(value)
        muon = torch.optim.Muon(
            [{"params": values, "share": self.options.muon * share} for share, values in matrices.items()],
            weight_decay=0.02,
            adjust_lr_fn="match_rms_adamw",
        )
        adam = torch.optim.AdamW(
            [{"params": values, "share": share} for share, values in others.items()],
            weight_decay=0.0,
            betas=(0.9, 0.98),
            fused=True,
        )
        return [muon, adam]

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to zero."""
        warm = min(1.0, (step + 1) / self.options.warmup)
        return float(self.options.lr * warm * 0.5 * (1 + np.cos(np.pi * min(1.0, step / self.options.steps))))

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, list[str]]:
        """Pictures (B, 3, S, S), flipped and lit at random, with what their captions say (B, K) and how."""
        picks = rng.integers(len(self.pictures), size=self.options.batch)
        images = torch.from_numpy(self.pictures.images[picks]).permute(0, 3, 1, 2).float()
        flips = torch.from_numpy(rng.random(len(picks)) < 0.5)
        images[flips] = images[flips].flip(-1)
        shape = (len(picks), 1, 1, 1)
        gain = torch.from_numpy(rng.uniform(0.85, 1.15, shape)).float()
        shift = torch.from_numpy(rng.uniform(-12, 12, shape)).float()
        strength = torch.from_numpy(rng.uniform(0, 6, shape)).float()
        noise = torch.from_numpy(rng.standard_normal(images.shape, dtype=np.float32))
        images = (images * gain + shift + noise * strength).clamp(0, 255)
        says = torch.from_numpy(self.pictures.says[picks]).to(self.device)
        return normalize(images.to(self.device)), says, [self.pictures.sentences[i] for i in picks]

    def _local_losses(self, values: Tensor, says: Tensor, text: Tensor, rng: np.random.Generator) -> Tensor:
        """The terms on pooled values (B, C, g, g): the whole grid, and windows of it."""
        scale = self.model.logit_scale.exp()
        side = int(rng.integers(1, min(4, values.shape[-1])))
        windows = F.avg_pool2d(values, side, stride=1).flatten(2).transpose(1, 2)  # (B, P, C)
        pooled = torch.cat([values.mean(dim=(2, 3))[:, None], windows], dim=1)
        size = float(np.exp(rng.uniform(0, np.log(100))))  # a region's token is a sum over as many patches
        with self._autocast():
            tokens = pooled_head(self.model.visual, size * pooled, pool_mlp=bool(rng.random() < 0.3))
        scores = tokens @ text.T
        whole, local = scores[:, 0], scores[:, 1:]
        found = ((local * PATCH_FOCUS).softmax(dim=1) * local).sum(dim=1)
        asked = self.questions[rng.integers(len(self.questions))]
        return (
            picture_name_loss(scale * whole, says)
            + picture_name_loss(scale * found, says)
            + self.options.window_weight * window_loss(scale * local[..., asked], says[:, asked])
        )

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def loss(self, step: int) -> Tensor:
        """All terms on one batch."""
        rng = np.random.default_rng((self.options.seed, step))
        images, says, sentences = self.batch(rng)
        templates = torch.from_numpy(rng.integers(self.name_tokens.shape[1], size=len(self.names)))
        name_tokens = self.name_tokens[torch.arange(len(self.names)), templates]
        mosaics = tile_quarters(F.avg_pool2d(images[: len(images) // 8 * 4], 2))
        few = slice(0, self.options.batch // 2)
        with self._autocast():
            text = encode_words(self.model, name_tokens)
            words = encode_words(self.model, self.tokenizer(sentences[few]).to(self.device))
            embeddings, values = encode_pictures(self.model.visual, torch.cat([images, mosaics]))
        count, scale = len(images), self.model.logit_scale.exp()
        total = picture_name_loss(scale * embeddings[:count] @ text.T, says)
        total = total + self._local_losses(values[:count], says, text, rng)
        quarters = cut_quarters(values[count:])
        total = total + 0.5 * self._local_losses(quarters, says[: len(quarters)], text, rng)
        return total + 0.5 * sentence_loss(scale * embeddings[few] @ words.T, sentences[few])

    def step(self, step: int) -> float:
        """One update; returns the loss."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate(step) * group["share"]
        loss = self.loss(step)
        self.model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=float(np.log(MAX_LOGIT_SCALE)))
        return loss.item()

    def save(self, path: Path, steps_done: int) -> None:
        """All that is needed to go on from here."""
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        partial = path.with_suffix(".partial")
        torch.save({"model": self.model.state_dict(), "optimizers": optimizers, "step": steps_done}, partial)
        partial.replace(path)

    def restore(self, path: Path) -> int:
        """Take up what `save` left; returns the steps done."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        return int(state["step"])


def write_checkpoint(model: open_clip.CLIP, path: Path) -> None:
    """float16 weights, complete at any moment: written beside and renamed."""
    partial = path.with_suffix(".partial")
    state = model.state_dict()
    save_file({key: value.half().cpu().contiguous() for key, value in state.items()}, partial)
    partial.replace(path)


def load_miniature(config_path: Path) -> open_clip.CLIP:
    """The model of a config file with the weights beside it, in float32, for scoring."""
    model = open_clip.CLIP(**json.loads(config_path.read_text())["model_cfg"])
    state = load_file(config_path.with_suffix(".safetensors"))
    model.load_state_dict({key: value.float() for key, value in state.items()})
    return model.eval()


def report(model: open_clip.CLIP, tokenizer: Tokenizer, seeds: Sequence[int]) -> None:
    """Log the held-out scores."""
    by_class_token, by_values = score_closeups(model, tokenizer, seeds)
    logger.info("close-ups named right: class token %.3f, pooled values %.3f", by_class_token, by_values)
    logger.info("true regions: %s", score_regions(model, tokenizer, seeds=seeds))


def train(options: argparse.Namespace) -> None:
    """Render what is missing, then train, with a state to resume from and a checkpoint as often as asked."""
    torch.manual_seed(options.seed)
    if options.render:
        render_pool(options.pool, options.shards)
    if options.steps == 0:
        return
    tokenizer = open_clip.SimpleTokenizer()
    config: dict[str, Any] = json.loads(options.config.read_text())
    model = build_clip(config["model_cfg"], tokenizer).to(options.device)
    trainer = Trainer(model, tokenizer, load_pool(options.pool, options.shards), options)
    logger.info("%d pictures, %d names", len(trainer.pictures), len(trainer.names))
    first = trainer.restore(options.state) if options.resume else 0
    since, losses = time.monotonic(), []
    for step in range(first, options.steps):
        losses.append(trainer.step(step))
        if (step + 1) % options.log_every == 0:
            rate = (time.monotonic() - since) / len(losses)
            logger.info("step %d loss %.3f, %.2f s a step", step + 1, np.mean(losses), rate)
            since, losses = time.monotonic(), []
        if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
            report(model, tokenizer, range(options.scored_scenes))
            write_checkpoint(model, options.output)
            trainer.save(options.state, step + 1)
            since, losses = time.monotonic(), []


def parse_arguments() -> argparse.Namespace:
    """The options; their defaults are those of the shipped weights."""
    bundled = Path(__file__).parents[2] / "textregion" / "bundled"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--config", type=Path, default=bundled / "clip_miniature.json")
    parser.add_argument("--output", type=Path, default=bundled / "clip_miniature.safetensors")
    parser.add_argument("--pool", type=Path, default=Path("clip_pictures"), help="folder of rendered pictures")
    parser.add_argument("--shards", type=int, default=58, help="of rendered pictures, 1,700 in each")
    parser.add_argument("--render", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--state", type=Path, default=Path("clip_miniature.state.pt"), help="to resume from")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--steps", type=int, default=5500, help="0: only render")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--muon", type=float, default=2.0, help="Muon's learning rate over AdamW's")
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--window_weight", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--log_every", type=int, default=25)
    parser.add_argument("--save_every", type=int, default=400)
    parser.add_argument("--scored_scenes", type=int, default=100)
    return parser.parse_args()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(parse_arguments())
