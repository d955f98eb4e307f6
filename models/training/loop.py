"""The training loop of every model: seeded, with a checkpoint after each epoch to go on from after a kill."""

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.errors import ModelError

Batch = tuple[Tensor, ...]
"""Inputs (b, ...) float32, then what the loss wants to know of them."""

Loss = Callable[[nn.Module, Batch], Tensor]
"""What a network is trained to make small: a scalar for a batch."""

Progress = Callable[[int, int, float], None]
"""Called after each batch with steps done, steps in all, and the mean loss of the epoch so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How long, how fast and from which seed a model is trained; `version` is that of the model."""

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


def fingerprint(arrays: Iterable[NDArray[np.generic]]) -> str:
    """Hash of what a network learns."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def fit(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    *,
    recipe: Recipe,
    n_batches: int,
    batches: Callable[[np.random.Generator], Iterator[Batch]],
    loss: Loss,
    data: str,
    checkpoint: Path,
    progress: Progress | None = None,
    after_epoch: Callable[[int, float], None] | None = None,
) -> None:
    """Train `network` in place.

    `data` is the `fingerprint` of what is learnt: a checkpoint of other data, another recipe or another network is
    not gone on from.

    `batches` gives the `n_batches` of one epoch from a generator seeded by recipe and epoch, so that an
    interrupted training goes on to the same weights. `after_epoch` is given the epoch (from 0) and its loss.
    """
    identity = f"{recipe} {data} {[(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()]}"
    first = _resume(network, optimiser, identity, checkpoint)
    total = recipe.n_epochs * n_batches
    for epoch in range(first, recipe.n_epochs):
        torch.manual_seed(recipe.seed * 10_007 + epoch)
        network.train()
        summed = 0.0
        for step, batch in enumerate(batches(np.random.default_rng([recipe.seed, epoch]))):
            done = epoch * n_batches + step
            for group in optimiser.param_groups:
                group["lr"] = one_cycle(done / total, peak=recipe.peak_rate, warm_up=recipe.warm_up)
            summed += _step(network, optimiser, loss, batch, bfloat16=recipe.bfloat16)
            if not math.isfinite(summed):
                msg = f"the training of {checkpoint.stem} diverged in epoch {epoch + 1}: lower the rate of its recipe"
                raise ModelError(msg)
            if progress is not None:
                progress(done + 1, total, summed / (step + 1))
        _save(network, optimiser, identity, checkpoint, epoch + 1)
        if after_epoch is not None:
            after_epoch(epoch, summed / n_batches)
    network.eval()


def _step(network: nn.Module, optimiser: torch.optim.Optimizer, loss: Loss, batch: Batch, *, bfloat16: bool) -> float:
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        value = loss(network, batch)
    optimiser.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(value.detach())


def _resume(network: nn.Module, optimiser: torch.optim.Optimizer, identity: str, checkpoint: Path) -> int:
    """Epochs done already; 0, too, where the checkpoint is damaged."""
    try:
        state = torch.load(checkpoint, weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError):
        return 0
    if state.get("identity") != identity:
        return 0
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["epochs_done"])


def _save(
    network: nn.Module, optimiser: torch.optim.Optimizer, identity: str, checkpoint: Path, epochs_done: int
) -> None:
    state = {
        "identity": identity,
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "epochs_done": epochs_done,
    }
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and moved, so that a kill while writing leaves the last good checkpoint.
    beside = checkpoint.with_suffix(".part")
    torch.save(state, beside)
    os.replace(beside, checkpoint)  # noqa: PTH105 (atomic, and named as such)
