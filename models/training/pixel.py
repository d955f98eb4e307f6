"""Training of the pixel model: a small, fully convolutional network on grey 48 px faces."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from models.datasets.data import FaceData
from models.training.augment import CROP, distorted
from models.training.heads import OneHead, TwoHeads, joint_loss
from models.training.loop import Batch, Progress, Recipe, fingerprint, fit
from pipeline.types import U8

N_EMBEDDING: Final = 256
_MARGIN: Final = (48 - CROP) // 2

RECIPE: Final = Recipe(version="1.1", n_epochs=40, batch_size=128, peak_rate=0.1, seed=1, bfloat16=True)
FINISH: Final = Recipe(version="1.1", n_epochs=16, batch_size=128, peak_rate=0.05, seed=2, bfloat16=True)
"""A second, shorter cycle on pictures that are closer to what cameras mostly give."""

_N_FOR_STATISTICS: Final = 32
"""Batches for the statistics of the batch normalisation."""

_DISTORTED: Final = (0.2, 0.08)
"""Share of the pictures with each distortion, in the first cycle and in the second; see `distorted`."""


def _convolution(n_in: int, n_out: int) -> list[nn.Module]:
    return [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]


class PixelTrunk(nn.Module):
    """Eight 3x3 convolutions (32; 64-64; 128-128-128; 256-256) and the mean over the map; 1.3 M parameters.

    Takes (n, 44, 44) grey levels 0 to 255 as float32, see `central`, and gives (n, 256) embeddings. Only one
    convolution is at full size: wide layers on small maps cost less than they add.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_convolution(1, 32),
            nn.MaxPool2d(2),
            *_convolution(32, 64),
            *_convolution(64, 64),
            nn.MaxPool2d(2),
            *_convolution(64, 128),
            *_convolution(128, 128),
            *_convolution(128, 128),
            nn.MaxPool2d(2),
            *_convolution(128, N_EMBEDDING),
            *_convolution(N_EMBEDDING, N_EMBEDDING),
        )

    def forward(self, faces: Tensor) -> Tensor:
        """(n, 256) embeddings."""
        maps: Tensor = self.layers((faces.unsqueeze(1) - 128.0) / 64.0)
        return maps.mean(dim=(2, 3))


class PixelGraph(nn.Module):
    """What is exported: (n, 48, 48) uint8 faces in, (n, 7) logits and (n, 256) embeddings out."""

    def __init__(self, network: OneHead) -> None:
        super().__init__()
        self.network = network

    def forward(self, faces: Tensor) -> Tensor:
        """Logits in `EMOTIONS` order, and embeddings."""
        both: Tensor = self.network(central(faces.float()))
        return both


def central(faces: Tensor) -> Tensor:
    """The (n, 44, 44) middle of (n, 48, 48) pictures, as large as what the network was trained on."""
    return faces[:, _MARGIN : _MARGIN + CROP, _MARGIN : _MARGIN + CROP]


def train_pixel(
    data: FaceData,
    framings: Sequence[U8],
    *,
    checkpoint: Path,
    recipes: tuple[Recipe, Recipe] = (RECIPE, FINISH),
    progress: Progress | None = None,
    after_epoch: Callable[[TwoHeads, int, float], None] | None = None,
) -> TwoHeads:
    """A network trained on the votes and the original labels of `data` (see `joint_loss`), in evaluation mode.

    `framings` are its (n, 48, 48) pictures, cut out in one way or several; which one is learnt is drawn each time.
    The two recipes are gone through one after the other, each with a checkpoint of its own beside `checkpoint`. The
    weights are the mean of those at both ends (Izmailov et al. 2018, "Averaging weights leads to wider optima and better
    generalization"), for which the statistics of the batch normalisation are taken anew.
    """
    torch.manual_seed(recipes[0].seed)
    # Channels last: half the time per step on the processors this was tried on.
    network = TwoHeads(PixelTrunk(), N_EMBEDDING)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    targets, weights = data.vote_shares
    rows = np.flatnonzero((weights > 0) | (data.label >= 0))

    def batches(rng: np.random.Generator, *, size: int, share: float) -> Iterator[Batch]:
        n_batches = max(1, len(rows) // size)
        order = rng.permutation(rows)
        for part in np.array_split(order[: n_batches * size], n_batches):
            drawn = zip(rng.integers(len(framings), size=len(part)), part, strict=True)
            pictures = [distorted(framings[way][row], rng, share=share) for way, row in drawn]
            arrays = (np.stack(pictures).astype(np.float32), targets[part], weights[part], data.label[part])
            yield tuple(torch.from_numpy(array) for array in arrays)

    learnt = fingerprint([*framings, targets, weights, data.label])
    ends = []
    for cycle, (recipe, share) in enumerate(zip(recipes, _DISTORTED, strict=True), start=1):
        fit(
            network,
            _optimiser(network, recipe.peak_rate),
            recipe=recipe,
            n_batches=max(1, len(rows) // recipe.batch_size),
            batches=partial(batches, size=recipe.batch_size, share=share),
            loss=joint_loss,
            # The second cycle goes on from the first: another first one makes it another.
            data=f"{learnt} {recipes[:cycle]}",
            checkpoint=checkpoint.with_stem(f"{checkpoint.stem}-{cycle}"),
            progress=progress,
            after_epoch=None if after_epoch is None else partial(after_epoch, network),
        )
        ends.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
    mean = {name: (tensor + ends[1][name]) / 2 for name, tensor in ends[0].items() if tensor.is_floating_point()}
    network.load_state_dict(ends[1] | mean)
    some = batches(np.random.default_rng(recipes[1].seed), size=recipes[1].batch_size, share=_DISTORTED[1])
    update_bn(islice(some, _N_FOR_STATISTICS), network)
    return network.eval()


def _optimiser(network: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Stochastic gradient descent that decays weights, but neither biases nor the scales of normalisation."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)
