"""Training of the pixel model: a small, fully convolutional network on grey 48 px faces and FER+ votes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from models.training.augment import CROP, distorted
from models.training.data import FaceData
from models.training.loop import Batch, Progress, Recipe, fit
from pipeline.emotions import N_EMOTIONS

N_EMBEDDING: Final = 192
N_HIDDEN: Final = 64
_MARGIN: Final = (48 - CROP) // 2

RECIPE: Final = Recipe(version="pixel-1.0", n_epochs=30, batch_size=128, peak_rate=0.1, seed=1, bfloat16=True)


def dense_head(n_embedding: int) -> nn.Sequential:
    """The part that personalisation replaces: embedding -> 64 -> 7, dropout 0.5."""
    return nn.Sequential(nn.Linear(n_embedding, N_HIDDEN), nn.ReLU(), nn.Dropout(0.5), nn.Linear(N_HIDDEN, N_EMOTIONS))


def _convolution(n_in: int, n_out: int) -> list[nn.Module]:
    return [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]


class PixelNetwork(nn.Module):
    """Seven 3x3 convolutions (24-24, 48-48, 96-96, 192), mean over the map, dense head; 341 k parameters.

    Takes (n, 44, 44) grey levels 0 to 255 as float32; see `central`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(1, 24),
            *_convolution(24, 24),
            nn.MaxPool2d(2),
            *_convolution(24, 48),
            *_convolution(48, 48),
            nn.MaxPool2d(2),
            *_convolution(48, 96),
            *_convolution(96, 96),
            nn.MaxPool2d(2),
            *_convolution(96, N_EMBEDDING),
        )
        self.head = dense_head(N_EMBEDDING)

    def embed(self, faces: Tensor) -> Tensor:
        """(n, 192) embeddings."""
        maps: Tensor = self.features((faces.unsqueeze(1) - 128.0) / 64.0)
        return maps.mean(dim=(2, 3))

    def forward(self, faces: Tensor) -> Tensor:
        """(n, 7) logits in `EMOTIONS` order."""
        logits: Tensor = self.head(self.embed(faces))
        return logits


class PixelGraph(nn.Module):
    """What is exported: (n, 48, 48) uint8 faces in, (n, 7) logits and (n, 192) embeddings out."""

    def __init__(self, network: PixelNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Logits in `EMOTIONS` order, and embeddings."""
        embeddings = self.network.embed(central(faces.float()))
        return self.network.head(embeddings), embeddings


def central(faces: Tensor) -> Tensor:
    """The (n, 44, 44) middle of (n, 48, 48) pictures, as large as what the network was trained on."""
    return faces[:, _MARGIN : _MARGIN + CROP, _MARGIN : _MARGIN + CROP]


def train_pixel(
    data: FaceData,
    *,
    checkpoint: Path,
    recipe: Recipe = RECIPE,
    progress: Progress | None = None,
    after_epoch: Callable[[PixelNetwork, int, float], None] | None = None,
) -> PixelNetwork:
    """A network trained on the vote distribution of `data` (see `FaceData.vote_shares`), in evaluation mode."""
    torch.manual_seed(recipe.seed)
    # Channels last: half the time per step on the processors this was tried on.
    network = PixelNetwork()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    optimiser = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0.0}],
        lr=recipe.peak_rate,
        momentum=0.9,
        nesterov=True,
    )
    targets, weights = data.vote_shares
    rows = np.flatnonzero(weights > 0)
    n_batches = max(1, len(rows) // recipe.batch_size)

    def batches(rng: np.random.Generator) -> Iterator[Batch]:
        order = rng.permutation(rows)
        for part in np.array_split(order[: n_batches * recipe.batch_size], n_batches):
            faces = np.stack([distorted(data.images[row], rng) for row in part]).astype(np.float32)
            yield torch.from_numpy(faces), torch.from_numpy(targets[part]), torch.from_numpy(weights[part])

    fit(
        network,
        optimiser,
        recipe=recipe,
        n_batches=n_batches,
        batches=batches,
        checkpoint=checkpoint,
        progress=progress,
        after_epoch=None if after_epoch is None else lambda epoch, loss: after_epoch(network, epoch, loss),
    )
    return network
