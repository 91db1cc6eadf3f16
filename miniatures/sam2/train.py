"""Train the miniature SAM 2 on rendered picture-book scenes, from single clicks on things, parts and grounds.

The architecture is the sam2 package's own (textregion/bundled/sam2_miniature.yaml). Scenes are rendered once, by
a second process, into a cache of 256 x 256 pictures; training starts with the first of them and takes in the rest
as they come. Each picture is encoded once and clicked many times. A click on a part is a click on its thing too:
each of the objects under it is a target, learnt by the best of the three masks; the predicted IoU learns the true
IoU with the best of them. What is written is a moving average of the weights, in float16.

The bundled weights came from this, about 70 minutes on one busy CPU core (the model card says how it was staged):

    OMP_NUM_THREADS=1 python -m miniatures.sam2.train --cache scenes_cache \\
        --init tests/parity/weights/sam2_tiny.safetensors --scenes 3700 --steps 6000
    OMP_NUM_THREADS=1 python -m miniatures.sam2.train --cache scenes_cache \\
        --resume --scenes 4500 --steps 7100 --lr 2e-3 --check-every 300

Needs torch 2.9 or later, for its Muon optimiser.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from miniatures.sam2.clicks import HELD_OUT_SEEDS, decode_clicks, encode_pictures, evaluate_clicks, normalize
from miniatures.sam2.examples import MASK_SIDE, Example, SceneCache, make_batch, render_cache
from textregion.weights import load_sam2

BUNDLED = Path(__file__).resolve().parents[2] / "textregion" / "bundled"
CHOOSING_SEEDS = range(1000, 1020)
EMA_DECAY = 0.998
WARM_UP_STEPS = 100
MATRIX_LR_FACTOR = 4.0  # Muon reached a loss in half of the steps that AdamW alone took


def click_loss(logits: Tensor, predicted_iou: Tensor, targets: Tensor, hit: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of a batch and the mean best-of-3 IoU of its clicks (of the objects that each click hits).

    logits (B, n, 3, h, w), predicted_iou (B, n, 3), targets (B, K, P), hit (B, n, K), where P = MASK_SIDE ** 2.
    Every mask is compared with every target by matrix products: nothing of size n x K x P exists.
    """
    full = F.interpolate(logits.flatten(0, 1), (MASK_SIDE, MASK_SIDE), mode="bilinear", align_corners=False)
    flat = full.unflatten(0, logits.shape[:2]).flatten(3)  # (B, n, 3, P)
    truth = targets.transpose(1, 2)[:, None]  # (B, 1, P, K)
    area = targets.sum(-1)[:, None, None]  # (B, 1, 1, K)
    cross_entropy = (F.softplus(flat).sum(-1, keepdim=True) - flat @ truth) / flat.shape[-1]
    probability = flat.sigmoid()
    dice = 1 - (2 * (probability @ truth) + 1) / (probability.sum(-1, keepdim=True) + area + 1)
    best = (cross_entropy + dice).amin(dim=2)  # (B, n, K)
    mask_loss = best[hit].mean()
    with torch.no_grad():
        binary = (flat > 0).float()
        overlap = binary @ truth
        iou = overlap / (binary.sum(-1, keepdim=True) + area - overlap).clamp(min=1)  # (B, n, 3, K)
        true_iou = iou.masked_fill(~hit[:, :, None], 0).amax(dim=-1)
    iou_loss = F.l1_loss(predicted_iou, true_iou)
    return mask_loss + iou_loss, iou.amax(dim=2)[hit].mean()


def is_matrix(name: str, parameter: torch.nn.Parameter) -> bool:
    """Whether Muon trains it: the linear layers of what pictures and clicks use; not embeddings, not biases."""
    used = name.startswith(("image_encoder.", "sam_mask_decoder."))
    return used and parameter.ndim == 2 and not name.endswith(("_token.weight", "_tokens.weight"))


def start_model(config: Path, init: Path | None) -> SAM2Base:
    """The sam2 package's model of a YAML file in float32, with the weights of `init` or random ones."""
    model: SAM2Base = instantiate(OmegaConf.load(config).model)
    if init is not None:
        model.load_state_dict(load_file(init))
    return model


class Trainer:
    """Model, optimiser and moving average; parts that pictures do not use get no gradient and stay as they are."""

    def __init__(self, config: Path, init: Path | None, lr: float, steps: int) -> None:
        self.lr, self.steps = lr, steps
        self.model = start_model(config, init)
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY))
        named = list(self.model.named_parameters())
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(
                [p for name, p in named if is_matrix(name, p)],
                lr=MATRIX_LR_FACTOR * lr,
                weight_decay=0.01,
                adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW([p for name, p in named if not is_matrix(name, p)], lr=lr, weight_decay=0.01),
        ]
        self.step = 0
        self.best = 0.0
        self.seconds = 0.0

    def schedule(self) -> float:
        """Factor of the learning rates: linear warm-up, then a cosine down to a hundredth."""
        cosine = 0.5 * (1 + math.cos(math.pi * min(self.step / self.steps, 1.0)))
        return (0.01 + 0.99 * cosine) * min(1.0, (self.step + 1) / WARM_UP_STEPS)

    def train_step(self, batch: Example) -> tuple[float, float]:
        """One step -> loss, best-of-3 IoU of the batch."""
        for optimizer, factor in zip(self.optimizers, (MATRIX_LR_FACTOR, 1.0), strict=True):
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = factor * self.lr * self.schedule()
        features = encode_pictures(self.model, normalize(batch.image))
        logits, predicted_iou = decode_clicks(self.model, features, batch.points_xy)
        loss, iou = click_loss(logits, predicted_iou, batch.targets, batch.hit)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update_parameters(self.model)
        self.step += 1
        return loss.item(), iou.item()

    def save_state(self, path: Path) -> None:
        state = {"model": self.model.state_dict(), "average": self.average.state_dict()}
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        counts = {"step": self.step, "best": self.best, "seconds": self.seconds}
        partial = path.with_suffix(".partial")
        torch.save(state | counts | {"optimizers": optimizers}, partial)
        partial.replace(path)

    def load_state(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.best, self.seconds = state["step"], state["best"], state["seconds"]


def write_weights(model: torch.nn.Module, path: Path) -> None:
    """float16 safetensors, whole or not at all."""
    partial = path.with_suffix(".partial")
    save_file({key: value.half().contiguous() for key, value in model.state_dict().items()}, partial)
    partial.replace(path)


def check(trainer: Trainer, output: Path, state: Path) -> None:
    """Score the moving average on scenes kept for choosing, keep it where it is the best so far, save the state."""
    scores = evaluate_clicks(trainer.average.module, CHOOSING_SEEDS)
    if scores["thing"]["best_of_3"] > trainer.best:
        trainer.best = scores["thing"]["best_of_3"]
        write_weights(trainer.average.module, output)
    trainer.save_state(state)
    report = {role: {name: round(value, 3) for name, value in row.items()} for role, row in scores.items()}
    print(f"step {trainer.step}, {trainer.seconds / 60:.1f} min: {json.dumps(report)}", flush=True)


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    trainer = Trainer(args.config, args.init, args.lr, args.steps)
    state = args.cache / "state.pt"
    if args.resume and state.exists():
        trainer.load_state(state)
    cache = SceneCache(args.cache)
    losses: list[tuple[float, float]] = []
    while trainer.step < args.steps:
        if trainer.step % 100 == 0 or not cache.scenes:
            cache.refresh()
        if not cache.scenes:
            time.sleep(5)
            continue
        started = time.perf_counter()
        rng = np.random.default_rng((args.seed, trainer.step))
        losses.append(trainer.train_step(make_batch(cache.scenes, args.pictures, args.clicks, rng)))
        trainer.seconds += time.perf_counter() - started
        if trainer.step % 100 == 0:
            loss, iou = np.mean(losses, axis=0)
            losses.clear()
            print(
                f"step {trainer.step}/{args.steps} loss {loss:.3f} best-of-3 {iou:.3f} "
                f"scenes {len(cache.scenes)} {trainer.seconds / trainer.step:.3f} s/step",
                flush=True,
            )
        if trainer.step % args.check_every == 0 or trainer.step == args.steps:
            check(trainer, args.output, state)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=BUNDLED / "sam2_miniature.yaml", help="architecture")
    parser.add_argument("--output", type=Path, default=BUNDLED / "sam2_miniature.safetensors", help="weights to write")
    parser.add_argument("--init", type=Path, help="weights to start from (default: random)")
    parser.add_argument("--cache", type=Path, required=True, help="folder for rendered scenes and the training state")
    parser.add_argument("--scenes", type=int, default=3700, help="scenes to render (a multiple of 50)")
    parser.add_argument("--steps", type=int, default=6000, help="length of the cosine schedule")
    parser.add_argument("--pictures", type=int, default=4, help="pictures a step")
    parser.add_argument("--clicks", type=int, default=10, help="clicks a picture")
    parser.add_argument("--lr", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the training process")
    parser.add_argument("--check-every", type=int, default=500, help="steps between scores and saves")
    parser.add_argument("--resume", action=argparse.BooleanOptionalAction, default=False, help="go on from the state")
    parser.add_argument("--evaluate", action="store_true", help="only score --output on the held-out scenes")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    if not args.evaluate:
        context = multiprocessing.get_context("spawn")
        renderer = context.Process(target=render_cache, args=(args.cache, args.scenes), daemon=True)
        renderer.start()
        train(args)
        renderer.terminate()
    scores = evaluate_clicks(load_sam2(args.output, args.config, "cpu"), HELD_OUT_SEEDS)
    print(json.dumps(scores, indent=2))


if __name__ == "__main__":
    main()
