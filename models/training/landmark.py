"""Training of the landmark models: one on the upright mesh, one as the GROUP paper describes it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.datasets.data import FaceData
from models.datasets.meshes import Meshes
from models.landmark import FEATURES
from models.training.heads import OneHead, TwoHeads, joint_loss
from models.training.loop import Batch, Progress, Recipe, fingerprint, fit
from pipeline.emotions import N_EMOTIONS

N_EMBEDDING: Final = 256
PAPER_HIDDEN: Final = 128

RECIPE: Final = Recipe(version="1.1", n_epochs=100, batch_size=256, peak_rate=3e-3, seed=1)
PAPER_RECIPE: Final = Recipe(version="1.1", n_epochs=20, batch_size=128, peak_rate=2e-3, seed=1)


class _Standardise(nn.Module):
    """Inputs to mean 0 and deviation 1, by what the training inputs were."""

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", inputs.mean(dim=0))
        self.register_buffer("deviation", inputs.std(dim=0, correction=0) + 1e-6)

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs - self.mean) / self.deviation


def mesh_network(inputs: Tensor) -> TwoHeads:
    """The default model: 1404 -> 512 -> 256 with batch normalisation and dropout, then the dense heads."""
    trunk = nn.Sequential(
        _Standardise(inputs),
        nn.Dropout(0.1),
        nn.Linear(inputs.shape[1], 512),
        nn.BatchNorm1d(512),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(512, N_EMBEDDING),
        nn.BatchNorm1d(N_EMBEDDING),
        nn.ReLU(),
    )
    return TwoHeads(trunk, N_EMBEDDING)


def paper_network(inputs: Tensor) -> OneHead:
    """The paper's model: 272 inputs, two hidden layers of 128 rectified units, seven outputs (GROUP, section 3).

    Its embedding is the second hidden layer, and its head the last layer alone.
    """
    trunk = nn.Sequential(
        _Standardise(inputs),
        nn.Linear(inputs.shape[1], PAPER_HIDDEN),
        nn.ReLU(),
        nn.Linear(PAPER_HIDDEN, PAPER_HIDDEN),
        nn.ReLU(),
    )
    return OneHead(trunk, nn.Linear(PAPER_HIDDEN, N_EMOTIONS))


def train_landmark(
    data: FaceData,
    views: Sequence[Meshes],
    *,
    checkpoint: Path,
    recipe: Recipe = RECIPE,
    progress: Progress | None = None,
) -> TwoHeads:
    """The default model, trained on the votes and the original labels of the faces with a mesh.

    `views` are the meshes of the same pictures, shown to the finder in several ways (see `other_views`). An epoch is as
    many meshes as the first of them has, drawn from all.
    """
    shares, weights = data.vote_shares
    usable = (weights > 0) | (data.label >= 0)
    found = [meshes.found & usable for meshes in views]
    inputs = np.concatenate(
        [FEATURES["mesh"](meshes.landmarks[rows]) for meshes, rows in zip(views, found, strict=True)]
    )
    rows = np.concatenate([np.flatnonzero(rows) for rows in found])
    arrays = (inputs, shares[rows], weights[rows], data.label[rows])
    torch.manual_seed(recipe.seed)
    network = mesh_network(torch.from_numpy(inputs))
    n_batches = max(1, int(found[0].sum()) // recipe.batch_size)
    fit(
        network,
        torch.optim.AdamW(network.parameters(), lr=recipe.peak_rate, weight_decay=0.1),
        recipe=recipe,
        n_batches=n_batches,
        batches=_shuffled(arrays, n_batches, recipe.batch_size),
        loss=joint_loss,
        data=fingerprint(arrays),
        checkpoint=checkpoint,
        progress=progress,
    )
    return network


def train_landmark_paper(
    data: FaceData, meshes: Meshes, *, checkpoint: Path, recipe: Recipe = PAPER_RECIPE, progress: Progress | None = None
) -> OneHead:
    """The paper's model, trained on the original labels of the faces with a mesh."""
    rows = np.flatnonzero(meshes.found & (data.label >= 0))
    inputs = FEATURES["paper"](meshes.landmarks[rows])
    arrays = (inputs, data.label[rows])
    torch.manual_seed(recipe.seed)
    network = paper_network(torch.from_numpy(inputs))
    n_batches = max(1, len(rows) // recipe.batch_size)
    fit(
        network,
        torch.optim.Adamax(network.parameters(), lr=recipe.peak_rate),
        recipe=recipe,
        n_batches=n_batches,
        batches=_shuffled(arrays, n_batches, recipe.batch_size),
        loss=lambda network, batch: nn.functional.cross_entropy(network(batch[0])[0], batch[1]),
        data=fingerprint(arrays),
        checkpoint=checkpoint,
        progress=progress,
    )
    return network


def _shuffled(
    arrays: tuple[NDArray[Any], ...], n_batches: int, batch_size: int
) -> Callable[[np.random.Generator], Iterator[Batch]]:
    """Batches of rows of all arrays, in random order."""

    def batches(rng: np.random.Generator) -> Iterator[Batch]:
        order = rng.permutation(len(arrays[0]))[: n_batches * batch_size]
        for part in np.array_split(order, n_batches):
            yield tuple(torch.from_numpy(array[part]) for array in arrays)

    return batches
