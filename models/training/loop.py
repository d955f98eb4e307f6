"""The training loop of every model: seeded, with a checkpoint after each epoch to go on from after a kill."""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.emotions import F32

Batch = tuple[Tensor, Tensor, Tensor]
"""Inputs (b, ...) float32, targets (b, 7) summing to one, weights (b,) in [0, 1]."""

Progress = Callable[[int, int, float], None]
"""Called after each batch with steps done, steps in all, and the mean loss of the epoch so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How long, how fast and from which seed a model is trained; `version` names what it is trained as.

    A checkpoint of another recipe is not gone on from.
    """

    version: str
    n_epochs: int
    batch_size: int
    peak_rate: float
    seed: int
    warm_up: float = 0.2
    bfloat16: bool = False


def one_cycle(done: float, *, peak: float, warm_up: float) -> float:
    """Learning rate when `done` in [0, 1] of the training is over: up linearly, then down by a cosine.

    Smith & Topin 2018, "Super-convergence", with the cosine of Loshchilov & Hutter 2017 on the way down.
    """
    if done < warm_up:
        return peak * (0.04 + 0.96 * done / warm_up)
    return peak * 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


def fit(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    *,
    recipe: Recipe,
    n_batches: int,
    batches: Callable[[np.random.Generator], Iterator[Batch]],
    checkpoint: Path,
    progress: Progress | None = None,
    after_epoch: Callable[[int, float], None] | None = None,
) -> None:
    """Train `network` in place on the cross-entropy with soft targets.

    `batches` gives the `n_batches` of one epoch from a generator seeded by recipe and epoch, so that an
    interrupted training goes on to the same weights. `after_epoch` is given the epoch (from 0) and its loss.
    """
    first = _resume(network, optimiser, recipe, checkpoint)
    total = recipe.n_epochs * n_batches
    for epoch in range(first, recipe.n_epochs):
        torch.manual_seed(recipe.seed * 10_007 + epoch)
        network.train()
        summed = 0.0
        for step, batch in enumerate(batches(np.random.default_rng([recipe.seed, epoch]))):
            done = epoch * n_batches + step
            for group in optimiser.param_groups:
                group["lr"] = one_cycle(done / total, peak=recipe.peak_rate, warm_up=recipe.warm_up)
            summed += _step(network, optimiser, batch, bfloat16=recipe.bfloat16)
            if progress is not None:
                progress(done + 1, total, summed / (step + 1))
        _save(network, optimiser, recipe, checkpoint, epoch + 1)
        if after_epoch is not None:
            after_epoch(epoch, summed / n_batches)
    network.eval()


def logits_of(network: nn.Module, inputs: F32, *, batch_size: int = 512) -> F32:
    """(n, 7) logits of the network in evaluation mode for (n, ...) float32 inputs."""
    network.eval()
    with torch.inference_mode():
        parts = [network(torch.from_numpy(inputs[at : at + batch_size])) for at in range(0, len(inputs), batch_size)]
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)


def _step(network: nn.Module, optimiser: torch.optim.Optimizer, batch: Batch, *, bfloat16: bool) -> float:
    inputs, targets, weights = batch
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        logits = network(inputs)
    losses = nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    loss = (losses * weights).sum() / weights.sum().clamp_min(1e-6)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.detach())


def _resume(network: nn.Module, optimiser: torch.optim.Optimizer, recipe: Recipe, checkpoint: Path) -> int:
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    if state["recipe"] != repr(recipe):
        return 0
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["epochs_done"])


def _save(
    network: nn.Module, optimiser: torch.optim.Optimizer, recipe: Recipe, checkpoint: Path, epochs_done: int
) -> None:
    state = {
        "recipe": repr(recipe),
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "epochs_done": epochs_done,
    }
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and moved, so that a kill while writing leaves the last good checkpoint.
    beside = checkpoint.with_suffix(".part")
    torch.save(state, beside)
    os.replace(beside, checkpoint)  # noqa: PTH105 (atomic, and named as such)
