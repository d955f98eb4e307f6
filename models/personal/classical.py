"""PERSONAL's three learners on the 51 interpretable features: nearest neighbours, random forest, dense network.

scikit-learn's, kept with skops: a file cannot make more than the types that are listed here, as a pickle could.
"""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

import numpy as np
import skops.io
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from skops.io.exceptions import UntrustedTypesFoundException

from models.errors import ModelError
from models.personal.learners import DEFAULT_WEIGHTING, Arrays, Kind, Weighting, checked, not_fitted, write_learner
from models.personal.samples import Samples
from pipeline.emotions import F64, N_EMOTIONS
from pipeline.interpretable import ACTION_UNIT_COLUMNS, N_INTERPRETABLE, Baseline

Columns = Literal["all", "action-units"]

TRUSTED: Final = ("sklearn.tree._tree.Tree",)
"""Types beyond numpy's and scikit-learn's own estimators that a file may make."""

_SMOOTHING: Final = 0.02
"""Share of the answer that is spread over the classes that were seen: five neighbours of one mind are not certain."""


@dataclass(frozen=True, slots=True)
class ClassicalSettings:
    """Hyper-parameters.

    columns: `all` 51 features, or the 35 `action-units`.
    neighbours: of knn, at most as many as there are samples. trees, leaf: of the forest, and least samples in a leaf.
    hidden, decay: of the dense network's one layer, and the weight of its L2 penalty.
    """

    columns: Columns = "all"
    neighbours: int = 5
    trees: int = 100
    leaf: int = 1
    hidden: int = 32
    decay: float = 0.1


DEFAULT_SETTINGS: Final = ClassicalSettings()


class ClassicalLearner:
    """One of the three; see `models.personal.learners.Learner`.

    Features are measured against the person's own resting face (the median of the samples), which is kept with what was
    learnt. With `baseline=False` they are taken as given: who pools several people has measured them already.
    """

    def __init__(
        self,
        kind: Kind,
        *,
        settings: ClassicalSettings = DEFAULT_SETTINGS,
        weighting: Weighting = DEFAULT_WEIGHTING,
        baseline: bool = True,
    ) -> None:
        self.name: str = kind
        self._kind = kind
        self._settings = settings
        self._weighting = weighting
        self._measures = baseline
        self.baseline_: Baseline | None = None
        self.estimator_: Any = None

    def fit(self, samples: Samples, seed: int = 0) -> Self:
        """See `Learner`."""
        known = checked(samples, np.isfinite(samples.interpretable).all(axis=1))
        self.baseline_ = (
            Baseline.of(known.interpretable)
            if self._measures
            else Baseline(np.zeros(N_INTERPRETABLE), np.ones(N_INTERPRETABLE), 0)
        )
        estimator = self._new(len(known), seed)
        features, label = self._features(known), known.label
        with warnings.catch_warnings():
            # A network that has not settled after its iterations is judged by what it says, like any other.
            warnings.filterwarnings("ignore", category=ConvergenceWarning)
            if self._kind == "knn":
                estimator.fit(features, label)
            else:
                estimator.fit(features, label, sample_weight=self._weighting.of(known))
        self.estimator_ = estimator
        return self

    def predict_proba(self, samples: Samples) -> F64:
        """See `Learner`."""
        if self.estimator_ is None:
            raise not_fitted(self.name)
        result = np.full((len(samples), N_EMOTIONS), np.nan)
        rows = np.flatnonzero(np.isfinite(samples.interpretable).all(axis=1))
        if len(rows):
            seen = self.estimator_.classes_
            result[rows] = 0.0
            said: F64 | float = 1.0
            # A network that has seen one class only answers as if there were another.
            if len(seen) > 1:
                said = self.estimator_.predict_proba(self._features(samples.take(rows)))
            result[np.ix_(rows, seen)] = (1 - _SMOOTHING) * said + _SMOOTHING / len(seen)
        return result

    def save(self, path: Path) -> None:
        """See `Learner`."""
        if self.estimator_ is None or self.baseline_ is None:
            raise not_fitted(self.name)
        packed = np.frombuffer(skops.io.dumps(self.estimator_), dtype=np.uint8)
        arrays: dict[str, NDArray[Any]] = {
            "columns": np.array(self._settings.columns),
            "rest": self.baseline_.rest,
            "spread": self.baseline_.spread,
            "estimator": packed,
        }
        write_learner(path, self.name, arrays)

    @classmethod
    def from_arrays(cls, kind: Kind, arrays: Arrays, path: Path) -> Self:
        """The learner that was saved.

        Raises:
            ModelError: It was not one of these, or its file would make what it must not.
        """
        try:
            content = np.asarray(arrays["estimator"], dtype=np.uint8).tobytes()
            estimator = skops.io.loads(content, trusted=list(TRUSTED))
            column = str(arrays["columns"])
            rest, spread = (np.asarray(arrays[name], dtype=np.float64) for name in ("rest", "spread"))
        except UntrustedTypesFoundException as error:
            msg = f"{path} is refused: {str(error).splitlines()[0]}"
            raise ModelError(msg) from None
        except (KeyError, ValueError, TypeError, OSError, AttributeError) as error:
            msg = f"{path} is damaged ({type(error).__name__}); take another version"
            raise ModelError(msg) from None
        columns = next((known for known in get_args(Columns) if known == column), None)
        whole = rest.shape == spread.shape == (N_INTERPRETABLE,)
        if columns is None or not whole or not isinstance(estimator, _TYPES[kind]):
            msg = f"{path} is no {kind}; take another version"
            raise ModelError(msg)
        learner = cls(kind, settings=replace(DEFAULT_SETTINGS, columns=columns))
        learner.baseline_ = Baseline(rest, spread, 0)
        learner.estimator_ = estimator
        return learner

    def _features(self, samples: Samples) -> F64:
        if self.baseline_ is None:
            raise not_fitted(self.name)
        scores = self.baseline_.z_scores(samples.interpretable)
        return scores[:, ACTION_UNIT_COLUMNS] if self._settings.columns == "action-units" else scores

    def _new(self, n: int, seed: int) -> Any:  # noqa: ANN401 (scikit-learn has no type information)
        settings = self._settings
        if self._kind == "knn":
            return KNeighborsClassifier(min(settings.neighbours, n), weights="distance")
        if self._kind == "random-forest":
            return RandomForestClassifier(settings.trees, min_samples_leaf=settings.leaf, random_state=seed, n_jobs=1)
        return MLPClassifier((settings.hidden,), solver="lbfgs", alpha=settings.decay, max_iter=200, random_state=seed)


_TYPES: Final[dict[Kind, type]] = {
    "knn": KNeighborsClassifier,
    "random-forest": RandomForestClassifier,
    "mlp": MLPClassifier,
}
