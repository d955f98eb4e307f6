"""Valence and arousal from the frozen features: ridge regression around the derived values (TRANSFER).

Before it has learnt, the answer is the expectation of the circumplex coordinates under the fused probabilities. What is
learnt from a person's ratings is a linear correction of that, from the hidden activations of both dense heads, with an
L2 penalty: few ratings move it little.
"""

from pathlib import Path
from typing import Final, Self

import numpy as np

from models.errors import ModelError
from models.personal.heads import Arms
from models.personal.learners import Arrays, learner_arrays, not_fitted, write_learner
from models.personal.samples import Samples
from pipeline.emotions import F64, VALENCE_AROUSAL

PENALTIES: Final = (100.0, 10.0, 1.0, 0.1)
"""Worth trying, the most cautious first."""

_TINY: Final = 1e-12


class AffectLearner:
    """(n, 2) valence and arousal in [-1, 1] of samples; rows of nan where there is no embedding at all.

    Args:
        generic: The heads whose hidden activations are the features.
        penalty: Of the squared weights of features whose mean square is 1, > 0.
        derived: Learn a correction of the derived values; False starts from nothing ("no transfer" of TRANSFER).
    """

    name = "valence-arousal"

    def __init__(self, generic: Arms, *, penalty: float = 1.0, derived: bool = True) -> None:
        self._generic = generic
        self._penalty = penalty
        self._derived = derived
        self.mean_: F64 | None = None
        self.weights_: F64 | None = None
        self.shift_: F64 | None = None

    def fit(self, samples: Samples, ratings: F64) -> Self:
        """Itself, after learning from (n, 2) ratings of at least one sample.

        Raises:
            ValueError: There is none, or ratings are of another shape or not finite.
        """
        if ratings.shape != (len(samples), 2) or not len(samples) or not np.isfinite(ratings).all():
            msg = f"ratings: expected ({max(len(samples), 1)}, 2) finite numbers, found {ratings.shape}"
            raise ValueError(msg)
        features = self._features(samples)
        residual = ratings - self._base(samples)
        self.mean_, self.shift_ = features.mean(axis=0), residual.mean(axis=0) * len(samples) / (len(samples) + 1)
        centred = features - self.mean_
        size = max(float((centred**2).sum(axis=1).mean()), _TINY)
        # The dual form: n by n, however many features there are.
        inner = centred @ centred.T / size + self._penalty * np.eye(len(samples))
        self.weights_ = centred.T @ np.linalg.solve(inner, residual - self.shift_) / size
        return self

    def predict(self, samples: Samples) -> F64:
        """(n, 2) valence and arousal, clipped to [-1, 1].

        Raises:
            ValueError: It has not learnt yet.
        """
        if self.mean_ is None or self.weights_ is None or self.shift_ is None:
            raise not_fitted(self.name)
        corrected = self._base(samples) + self.shift_ + (self._features(samples) - self.mean_) @ self.weights_
        return np.asarray(corrected.clip(-1, 1))

    def save(self, path: Path) -> None:
        """Writes what it learnt, atomically.

        Raises:
            OSError: The disk refuses.
            ValueError: It has not learnt yet.
        """
        if self.mean_ is None or self.weights_ is None or self.shift_ is None:
            raise not_fitted(self.name)
        arrays = {"mean": self.mean_, "weights": self.weights_, "shift": self.shift_}
        write_learner(path, self.name, arrays | {"derived": np.array(self._derived)})

    @classmethod
    def load(cls, path: Path, generic: Arms) -> Self:
        """The learner that was saved.

        Raises:
            ModelError: It is missing, damaged, another kind, or one for other models.
        """
        name, arrays = learner_arrays(path)
        if name != cls.name:
            msg = f"{path} holds a learner {name!r:.40}, not one of valence and arousal"
            raise ModelError(msg)
        learner = cls(generic, derived=bool(arrays.get("derived", True)))
        learner.mean_, learner.weights_, learner.shift_ = (
            _part(arrays, key, path) for key in ("mean", "weights", "shift")
        )
        width = len(generic.pixel.head.b1) + len(generic.landmark.head.b1)
        found = (learner.mean_.shape, learner.weights_.shape, learner.shift_.shape)
        if found != ((width,), (width, 2), (2,)):
            msg = f"{path} is for other models than these; take another version"
            raise ModelError(msg)
        return learner

    def derived(self, samples: Samples) -> F64:
        """(n, 2) the expectation of the circumplex coordinates under the generic probabilities."""
        return np.asarray(self._generic.predict_proba(samples) @ VALENCE_AROUSAL)

    def _base(self, samples: Samples) -> F64:
        return self.derived(samples) if self._derived else np.zeros((len(samples), 2))

    def _features(self, samples: Samples) -> F64:
        """(n, h) hidden activations, each divided by what is typical of its arm; 0 where there is no mesh."""
        with_mesh = np.isfinite(samples.landmark).all(axis=1)
        pixel = self._generic.pixel.head.hidden(samples.pixel).astype(np.float64)
        landmark = np.zeros((len(samples), len(self._generic.landmark.head.b1)))
        landmark[with_mesh] = self._generic.landmark.head.hidden(samples.landmark[with_mesh])
        # By what a unit of each does to logits, so that the arms weigh alike.
        pixel *= float(np.abs(self._generic.pixel.head.w2).mean())
        landmark *= float(np.abs(self._generic.landmark.head.w2).mean())
        return np.concatenate([pixel, landmark], axis=1)


def _part(arrays: Arrays, key: str, path: Path) -> F64:
    """A finite array of numbers.

    Raises:
        ModelError: It is missing, or not all numbers are finite.
    """
    if key not in arrays:
        msg = f"{path} lacks {key!r}; take another version"
        raise ModelError(msg)
    array = np.asarray(arrays[key], dtype=np.float64)
    if not np.isfinite(array).all():
        msg = f"{path}: expected finite numbers, found others"
        raise ModelError(msg)
    return array
