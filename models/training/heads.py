"""What both arms end in: an embedding, and one small dense head for each of the two sets of labels of FER2013.

The trunk learns from both at once. The votes are cleaner, the original labels name rare classes more often, and the
two disagree on every third picture: each head answers in the terms of its own labels, and neither has to fit both.
"""

from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.training.loop import Batch
from pipeline.emotions import F32, N_EMOTIONS

Labels = Literal["votes", "original"]

LABELS: Final[tuple[Labels, Labels]] = ("votes", "original")
N_HIDDEN: Final = 64
ORIGINAL_SHARE: Final = 0.6
"""Weight of the loss on the original labels, where that on the votes has 1."""

_TINY: Final = 1e-6


def dense_head(n_embedding: int) -> nn.Sequential:
    """The part that personalisation replaces: embedding -> 64 -> 7, dropout 0.5."""
    return nn.Sequential(nn.Linear(n_embedding, N_HIDDEN), nn.ReLU(), nn.Dropout(0.5), nn.Linear(N_HIDDEN, N_EMOTIONS))


class TwoHeads(nn.Module):
    """A trunk that turns inputs into (n, n_embedding) embeddings, and a head for each set of labels."""

    def __init__(self, trunk: nn.Module, n_embedding: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleDict({"votes": dense_head(n_embedding), "original": dense_head(n_embedding)})

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 7) logits in `EMOTIONS` order, in terms of the votes and of the original labels."""
        embeddings = self.trunk(inputs)
        return self.heads["votes"](embeddings), self.heads["original"](embeddings)

    def only(self, labels: Labels) -> "OneHead":
        """The trunk with the head of one set of labels; both are shared, not copied."""
        return OneHead(self.trunk, self.heads[labels])


class OneHead(nn.Module):
    """What is exported: inputs in, (n, 7) logits in `EMOTIONS` order and (n, n_embedding) embeddings out."""

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and embeddings."""
        embeddings = self.trunk(inputs)
        return self.head(embeddings), embeddings


def joint_loss(network: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy of both heads, `ORIGINAL_SHARE` of that on the original labels.

    A batch is inputs, (b, 7) shares of the votes, (b,) weights of these in [0, 1] (see `FaceData.vote_shares`), and
    (b,) original labels as int64, -1 where there is none.
    """
    inputs, shares, weights, label = batch
    votes, original = network(inputs)
    losses = nn.functional.cross_entropy(votes.float(), shares, reduction="none")
    known = label >= 0
    loss = (losses * weights).sum() / weights.sum().clamp_min(_TINY)
    others = nn.functional.cross_entropy(original.float()[known], label[known], reduction="sum")
    return loss + ORIGINAL_SHARE * others / known.sum().clamp_min(1)


def logits_of(network: OneHead, inputs: F32, *, batch_size: int = 512) -> F32:
    """(n, 7) logits of the network in evaluation mode for (n, ...) float32 inputs."""
    network.eval()
    with torch.inference_mode():
        parts = [network(torch.from_numpy(inputs[at : at + batch_size]))[0] for at in range(0, len(inputs), batch_size)]
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)
