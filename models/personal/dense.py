"""Fine-tuning a dense head on one person's samples, the features frozen (TRANSFER, section 3.3).

The loss is the cross-entropy with the soft labels, at the temperature at which the model alone is calibrated, summed over
the weighted samples, plus `penalty` / 2 times the squared distance to the weights it starts from, as a Gaussian prior
around these: a few samples move the head little, many much. Distances are measured by what they do to a logit of the
features at hand, so that one penalty fits both arms.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from models.personal.heads import Arm, DenseHead
from pipeline.emotions import F32, F64, N_EMOTIONS

_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How a head is fitted.

    penalty: of the distance to the weights it starts from, > 0; what the prior is worth against samples of weight 1.
    iterations: of L-BFGS, at most.
    """

    penalty: float = 3.0
    iterations: int = 30


DEFAULT_FIT: Final = FitSettings()


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """(n, d) embeddings, (n, 7) soft labels and (n,) weights."""

    embeddings: F32
    target: F64
    weight: F64


def fine_tuned(arm: Arm, examples: Examples, *, free: NDArray[np.bool_], settings: FitSettings = DEFAULT_FIT) -> Arm:
    """The arm with its head fitted to at least one example.

    free: (7,) classes whose output weights and bias may move: those that were seen. The logit of another class still
    follows the hidden layer.
    """
    problem = _Problem(arm, examples, free)
    # More threads than one make small problems slower, on a busy machine fifty times.
    with threadpool_limits(1):
        found = minimize(
            problem.value,
            np.zeros(problem.size),
            args=(settings.penalty,),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": settings.iterations, "ftol": 1e-6},
        )
    return replace(arm, head=problem.head(found.x))


class _Problem:
    """Value and gradient of the loss, in parameters in which the penalty is a sphere.

    With fewer examples than inputs, the first layer moves only in the span of their embeddings: gradients lie in it, and
    so does the minimum. The problem is stated in coordinates of the span, which a few examples make much smaller.
    """

    def __init__(self, arm: Arm, examples: Examples, free: NDArray[np.bool_]) -> None:
        self._head = arm.head
        self._temperature = np.float32(arm.temperature)
        embeddings = examples.embeddings.astype(np.float32)
        n, d = embeddings.shape
        hidden = arm.head.hidden(embeddings)
        to_logit = arm.temperature / np.sqrt(
            np.maximum(_TINY, [(embeddings**2).sum() / n, 1, (hidden**2).sum() / n, 1])
        )
        self._steps = to_logit.astype(np.float32)
        self._basis: F32 | None = None
        inputs = embeddings
        if n < d:
            basis, triangle = np.linalg.qr(embeddings.T.astype(np.float64))
            self._basis, inputs = basis.astype(np.float32), triangle.T.astype(np.float32)
        self._inputs = inputs * self._steps[0]
        self._before = embeddings @ arm.head.w1.T + arm.head.b1
        self._free = free.astype(np.float32)
        self._target = examples.target.astype(np.float32)
        self._weight = examples.weight.astype(np.float32)[:, None]
        h = len(arm.head.b1)
        self._shapes = ((h, inputs.shape[1]), (h,), (N_EMOTIONS, h), (N_EMOTIONS,))
        self._cuts = np.cumsum([int(np.prod(shape)) for shape in self._shapes])

    @property
    def size(self) -> int:
        """How many parameters."""
        return int(self._cuts[-1])

    def value(self, u: F64, penalty: float) -> tuple[float, F64]:
        """Loss and gradient."""
        a, b, c, d = self._parts(u)
        _, bias_step, out_step, shift_step = self._steps
        before = self._before + self._inputs @ a.T + b * bias_step
        hidden = np.maximum(before, 0)
        w2 = self._head.w2 + c * out_step * self._free[:, None]
        logits = (hidden @ w2.T + self._head.b2 + d * shift_step * self._free) / self._temperature
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        loss = -float((self._weight * self._target * log_p).sum(dtype=np.float64))
        # Soft labels sum to 1, so the gradient by the logits is p - target.
        by_logit = self._weight * (np.exp(log_p) - self._target) / self._temperature
        by_before = (by_logit @ w2) * (before > 0)
        gradient = np.concatenate(
            [
                (by_before.T @ self._inputs).ravel(),
                by_before.sum(axis=0) * bias_step,
                (by_logit.T @ hidden * out_step * self._free[:, None]).ravel(),
                by_logit.sum(axis=0) * shift_step * self._free,
            ]
        ).astype(np.float64)
        return loss + penalty / 2 * float(u @ u), gradient + penalty * u

    def head(self, u: F64) -> DenseHead:
        """The head of these parameters."""
        a, b, c, d = self._parts(u)
        first = a * self._steps[0]
        if self._basis is not None:
            first = first @ self._basis.T
        return DenseHead(
            self._head.w1 + first,
            self._head.b1 + b * self._steps[1],
            self._head.w2 + c * self._steps[2] * self._free[:, None],
            self._head.b2 + d * self._steps[3] * self._free,
        )

    def _parts(self, u: F64) -> list[F32]:
        return [
            part.reshape(shape)
            for part, shape in zip(np.split(u.astype(np.float32), self._cuts[:-1]), self._shapes, strict=True)
        ]
