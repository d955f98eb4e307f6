"""Training of the landmark models: one on the upright mesh and FER+ votes, one as the GROUP paper describes it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.landmark import FEATURES
from models.training.data import FaceData
from models.training.loop import Batch, Progress, Recipe, fit
from models.training.meshes import Meshes
from models.training.pixel import dense_head
from pipeline.emotions import F32, N_EMOTIONS
from pipeline.landmarks import upright

N_EMBEDDING: Final = 128
PAPER_HIDDEN: Final = 128

RECIPE: Final = Recipe(version="landmark-1.0", n_epochs=30, batch_size=256, peak_rate=2e-3, seed=1)
PAPER_RECIPE: Final = Recipe(version="landmark-paper-1.0", n_epochs=20, batch_size=128, peak_rate=2e-3, seed=1)


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


class LandmarkNetwork(nn.Module):
    """A dense network on features of the mesh: `features` to an embedding, `head` from there to (n, 7) logits."""

    def __init__(self, features: nn.Sequential, head: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, 7) logits in `EMOTIONS` order."""
        logits: Tensor = self.head(self.features(inputs))
        return logits


class LandmarkGraph(nn.Module):
    """What is exported: (n, d) float32 features in, (n, 7) logits and (n, 128) embeddings out."""

    def __init__(self, network: LandmarkNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits in `EMOTIONS` order, and embeddings."""
        embeddings = self.network.features(inputs)
        return self.network.head(embeddings), embeddings


def mesh_network(inputs: Tensor) -> LandmarkNetwork:
    """The default model: 1404 -> 256 -> 128 with batch normalisation and dropout, then the dense head."""
    features = nn.Sequential(
        _Standardise(inputs),
        nn.Dropout(0.1),
        nn.Linear(inputs.shape[1], 256),
        nn.BatchNorm1d(256),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(256, N_EMBEDDING),
        nn.BatchNorm1d(N_EMBEDDING),
        nn.ReLU(),
    )
    return LandmarkNetwork(features, dense_head(N_EMBEDDING))


def paper_network(inputs: Tensor) -> LandmarkNetwork:
    """The paper's model: 272 inputs, two hidden layers of 128 rectified units, seven outputs (GROUP, section 3).

    Its embedding is the second hidden layer, and its head the last layer alone.
    """
    features = nn.Sequential(
        _Standardise(inputs),
        nn.Linear(inputs.shape[1], PAPER_HIDDEN),
        nn.ReLU(),
        nn.Linear(PAPER_HIDDEN, PAPER_HIDDEN),
        nn.ReLU(),
    )
    return LandmarkNetwork(features, nn.Linear(PAPER_HIDDEN, N_EMOTIONS))


def train_landmark(
    data: FaceData, meshes: Meshes, *, checkpoint: Path, recipe: Recipe = RECIPE, progress: Progress | None = None
) -> LandmarkNetwork:
    """The default model, trained on the votes of the faces with a mesh, each in half of the epochs mirrored."""
    targets, weights = data.vote_shares
    rows = np.flatnonzero(meshes.found & (weights > 0))
    landmarks = meshes.landmarks[rows]
    mirrored = landmarks[:, mirror_order(landmarks)] * np.array([-1, 1, 1], dtype=np.float32)
    inputs = [FEATURES["mesh"](landmarks), FEATURES["mesh"](mirrored)]
    torch.manual_seed(recipe.seed)
    network = mesh_network(torch.from_numpy(inputs[0]))
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.peak_rate, weight_decay=0.1)
    batches = _shuffled(inputs, targets[rows], weights[rows], recipe.batch_size)
    n_batches = max(1, len(rows) // recipe.batch_size)
    fit(
        network,
        optimiser,
        recipe=recipe,
        n_batches=n_batches,
        batches=batches,
        checkpoint=checkpoint,
        progress=progress,
    )
    return network


def train_landmark_paper(
    data: FaceData, meshes: Meshes, *, checkpoint: Path, recipe: Recipe = PAPER_RECIPE, progress: Progress | None = None
) -> LandmarkNetwork:
    """The paper's model, trained on the original labels of the faces with a mesh."""
    rows = np.flatnonzero(meshes.found & (data.label >= 0))
    inputs = FEATURES["paper"](meshes.landmarks[rows])
    targets = np.eye(N_EMOTIONS, dtype=np.float32)[data.label[rows]]
    torch.manual_seed(recipe.seed)
    network = paper_network(torch.from_numpy(inputs))
    optimiser = torch.optim.Adamax(network.parameters(), lr=recipe.peak_rate)
    batches = _shuffled([inputs], targets, np.ones(len(rows), dtype=np.float32), recipe.batch_size)
    n_batches = max(1, len(rows) // recipe.batch_size)
    fit(
        network,
        optimiser,
        recipe=recipe,
        n_batches=n_batches,
        batches=batches,
        checkpoint=checkpoint,
        progress=progress,
    )
    return network


def mirror_order(landmarks: F32) -> NDArray[np.intp]:
    """(468,) for each vertex, the one on the other side of the face: an involution.

    Found on the median of the upright (n, 468, 3) meshes, as the nearest vertex to each one's mirror image.

    Raises:
        ValueError: Two vertices claim the same partner: the meshes are too few or no faces.
    """
    median = np.median(upright(landmarks), axis=0)
    distances = np.linalg.norm((median * (-1, 1, 1))[:, None] - median[None], axis=2)
    partner = np.asarray(distances.argmin(axis=1))
    if not np.array_equal(partner[partner], np.arange(len(partner))):
        msg = f"landmarks: expected meshes of faces, found {len(landmarks)} whose median is not symmetric"
        raise ValueError(msg)
    return partner


def _shuffled(
    variants: list[F32], targets: F32, weights: F32, batch_size: int
) -> Callable[[np.random.Generator], Iterator[Batch]]:
    """Batches in random order, each row from a variant of the inputs drawn at random."""
    n = len(targets)
    n_batches = max(1, n // batch_size)

    def batches(rng: np.random.Generator) -> Iterator[Batch]:
        order = rng.permutation(n)[: n_batches * batch_size]
        variant = rng.integers(len(variants), size=n)
        for part in np.array_split(order, n_batches):
            inputs = np.empty((len(part), variants[0].shape[1]), dtype=np.float32)
            for number, rows in enumerate(variants):
                chosen = variant[part] == number
                inputs[chosen] = rows[part[chosen]]
            yield torch.from_numpy(inputs), torch.from_numpy(targets[part]), torch.from_numpy(weights[part])

    return batches
