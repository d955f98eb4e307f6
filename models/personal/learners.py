"""Who learns from a person's samples: one interface, five kinds, and files of what they learnt.

`fit(samples, seed)` learns and returns the learner, `predict_proba(samples)` gives (n, 7) probabilities with columns in
`EMOTIONS` order and rows of nan where a sample has nothing that the learner reads, `save(path)` writes a file that
`load_learner(path, generic)` reads. The same samples and seed give the same learner. What is in the file is numbers with a
hash over them (`models.personal.heads.write_arrays`); it is checked before anything is made of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self, get_args

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.personal.dense import DEFAULT_FIT, Examples, FitSettings, fine_tuned
from models.personal.heads import Arm, Arms, Retained, head_of, read_arrays, write_arrays
from models.personal.samples import GROUP_NOISE, Origin, Samples
from pipeline.emotions import F64, N_EMOTIONS
from pipeline.metrics import Bool

Arrays = Mapping[str, NDArray[np.generic]]

Kind = Literal["knn", "random-forest", "mlp"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""The learners on the interpretable features, in `models.personal.classical`."""

_TINY: Final = 1e-12
FORMAT: Final = 2
"""Of the files; later ones are refused. Heads of the first retain nothing of the generic one."""


class Learner(Protocol):
    """Learns one person's expressions."""

    @property
    def name(self) -> str:
        """What kind it is, such as `head`."""

    def fit(self, samples: Samples, seed: int = 0) -> Self:
        """Itself, after learning from at least one sample.

        Raises:
            ValueError: There is no sample it can learn from.
        """

    def predict_proba(self, samples: Samples) -> F64:
        """(n, 7) probabilities.

        Raises:
            ValueError: It has not learnt yet.
        """

    def save(self, path: Path) -> None:
        """Writes what it learnt, atomically.

        Raises:
            OSError: The disk refuses.
            ValueError: It has not learnt yet.
        """


@dataclass(frozen=True, slots=True)
class Weighting:
    """What a sample counts.

    group, human: weight of a label by where it comes from: the group's repeat themselves every second for as long as an
        expression lasts, some 25 times, and one of six is wrong; a person was asked.
    balance: each class counts by its number of samples to the power of -balance; 0 as they come, 1 all alike.
    """

    group: float = 0.03
    human: float = 1.0
    balance: float = 1.0

    def of(self, samples: Samples) -> F64:
        """(n,) confidence x quality x origin, shared out between the classes; the sum is that before sharing."""
        origin = np.where(samples.origin == Origin.GROUP, self.group, self.human)
        plain = np.asarray(samples.confidence * samples.quality * origin, dtype=np.float64)
        # A weight of 0 for all would be no problem to solve.
        plain = np.maximum(plain, _TINY)
        of_class = np.bincount(samples.label, weights=plain, minlength=N_EMOTIONS)
        shared = plain * of_class[samples.label] ** -self.balance
        return np.asarray(shared * (plain.sum() / shared.sum()))


DEFAULT_WEIGHTING: Final = Weighting()
GROUP_ALONE: Final = Weighting(group=10.0)
"""Of a head that learns from the group alone, which tells by itself what may be wrong; chosen on simulated groups (decisions/0013)."""


def checked(samples: Samples, usable: NDArray[np.bool_] | None = None) -> Samples:
    """The samples that are usable, in the order of time.

    Raises:
        ValueError: There is none.
    """
    known = samples if usable is None else samples.take(usable)
    if len(known) == 0:
        msg = "no sample to learn from; gather some first"
        raise ValueError(msg)
    return known.take(np.argsort(known.time_s, kind="stable"))


def not_fitted(name: str) -> ValueError:
    """What is raised where something is asked of a learner that has not learnt."""
    return ValueError(f"{name}: has not learnt yet; call fit first")


class OffsetLearner:
    """The simplest head: what a face always shows less what the others show (GROUP, section 4.3; algorithm 10).

    b = slow mean of log p_i - log p_others, |b| <= 1.5, and p_i exp(-b), normalised, is the answer. For a label of one
    class alone, a tenth is shared out between all of them before the logarithm.

    Args:
        generic: What says p_i.
        half_life: After so many samples an earlier one counts half.
        prior: Samples' worth of no offset at all that the mean starts from.
        largest: Bound of |b|.
        smoothing: The share of a label that goes to all classes alike.
    """

    name = "offset"

    def __init__(
        self,
        generic: Arms,
        *,
        half_life: float = 300.0,
        prior: float = 20.0,
        largest: float = 1.5,
        smoothing: float = 0.1,
        weighting: Weighting = DEFAULT_WEIGHTING,
    ) -> None:
        self._generic = generic
        self._half_life = half_life
        self._prior = prior
        self._largest = largest
        self._smoothing = smoothing
        self._weighting = weighting
        self.offset_: F64 | None = None

    def fit(self, samples: Samples, seed: int = 0) -> Self:  # noqa: ARG002 (nothing is drawn)
        """See `Learner`."""
        known = checked(samples)
        own, others = (
            np.log((1 - self._smoothing) * p + self._smoothing / N_EMOTIONS)
            for p in (self._generic.predict_proba(known), known.target)
        )
        age = np.arange(len(known))[::-1]
        weight = self._weighting.of(known) * 0.5 ** (age / self._half_life)
        mean = (weight[:, None] * (own - others)).sum(axis=0) / (weight.sum() + self._prior)
        self.offset_ = np.clip(mean, -self._largest, self._largest)
        return self

    def predict_proba(self, samples: Samples) -> F64:
        """See `Learner`."""
        if self.offset_ is None:
            raise not_fitted(self.name)
        moved = self._generic.predict_proba(samples) * np.exp(-self.offset_)
        return np.asarray(moved / moved.sum(axis=1, keepdims=True))

    def save(self, path: Path) -> None:
        """See `Learner`."""
        if self.offset_ is None:
            raise not_fitted(self.name)
        write_learner(path, self.name, {"offset": self.offset_})

    @classmethod
    def from_arrays(cls, arrays: Arrays, generic: Arms, path: Path) -> Self:
        """The learner that was saved.

        Raises:
            ModelError: It was not one of these.
        """
        offset = arrays.get("offset")
        if (
            offset is None
            or offset.shape != (N_EMOTIONS,)
            or not np.isfinite(np.asarray(offset, dtype=np.float64)).all()
        ):
            msg = f"{path} holds no offset of {N_EMOTIONS} finite numbers; take another version"
            raise ModelError(msg)
        learner = cls(generic)
        learner.offset_ = np.asarray(offset, dtype=np.float64)
        return learner


class HeadLearner:
    """Both arms' dense heads, fine-tuned from the generic ones (TRANSFER, section 3.3; GROUP, section 5).

    What the group says is a class that is right most of the time: its soft shares are as soft in a sure second as in
    another, and a head that learns them becomes so. It counts as likely as it is right (`Samples.plausible`): a face
    that is always misread counts less, but alike in all seconds. People's labels are learnt as they are.

    What learnt from the group alone is read together with the generic head. A class that was hardly labelled is read as
    before, by the generic head alone, unless that reads it all the time: then it is what a resting face is taken for.

    Args:
        generic: What it starts from.
        settings: How each head is fitted.
        weighting: Where people labelled, too.
        alone: Where all labels are the group's.
        share: Of the generic head in what is read, where all labels are the group's.
        noise: Share of the group's labels that are taken to be wrong.
        n_known: Labels of the group from which on a class is known; of a person's one is enough.
        much: Mean generic probability from which on a class is read all the time.
    """

    name = "head"

    def __init__(
        self,
        generic: Arms,
        *,
        settings: FitSettings = DEFAULT_FIT,
        weighting: Weighting = DEFAULT_WEIGHTING,
        alone: Weighting = GROUP_ALONE,
        share: float = 0.65,
        noise: float = GROUP_NOISE,
        n_known: int = 10,
        much: float = 0.05,
    ) -> None:
        self._generic = generic
        self._settings = settings
        self._weighting = weighting
        self._alone = alone
        self._share = share
        self._noise = noise
        self._n_known = n_known
        self._much = much
        self.arms_: Arms | None = None

    def fit(self, samples: Samples, seed: int = 0) -> Self:  # noqa: ARG002 (nothing is drawn)
        """See `Learner`."""
        known = checked(samples)
        counts = np.bincount(known.label, minlength=N_EMOTIONS)
        read = self._generic.predict_proba(known)
        weighting, share = (self._weighting, 0.0) if known.human.any() else (self._alone, self._share)
        weight = weighting.of(replace(known, confidence=known.confidence * known.plausible(read, self._noise)))
        told = known.told
        by_people = np.bincount(known.label[known.human], minlength=N_EMOTIONS) > 0
        kept = (counts < self._n_known) & ~by_people & (read.mean(axis=0) < self._much)

        def tuned(arm: Arm, column: str) -> Arm:
            embeddings = getattr(known, column)
            here = np.isfinite(embeddings).all(axis=1)
            if not here.any():
                return arm
            examples = Examples(embeddings[here], told[here], weight[here])
            learnt = fine_tuned(arm, examples, free=counts > 0, settings=self._settings)
            return replace(learnt, retained=_retained(arm, kept, share))

        self.arms_ = Arms(tuned(self._generic.pixel, "pixel"), tuned(self._generic.landmark, "landmark"))
        return self

    def predict_proba(self, samples: Samples) -> F64:
        """See `Learner`."""
        if self.arms_ is None:
            raise not_fitted(self.name)
        return self.arms_.predict_proba(samples)

    def save(self, path: Path) -> None:
        """See `Learner`."""
        if self.arms_ is None:
            raise not_fitted(self.name)
        arrays: dict[str, NDArray[Any]] = {}
        for arm, prefix in ((self.arms_.pixel, "pixel."), (self.arms_.landmark, "landmark.")):
            kept, share = (
                (np.zeros(N_EMOTIONS), 0.0) if arm.retained is None else (arm.retained.kept, arm.retained.share)
            )
            retained = {prefix + "kept": kept.astype(np.bool_), prefix + "share": np.array(share)}
            arrays |= arm.head.arrays(prefix) | retained
        write_learner(path, self.name, arrays)

    @classmethod
    def from_arrays(cls, arrays: Arrays, generic: Arms, path: Path) -> Self:
        """The learner that was saved; temperatures, and what is retained beside it, are those of the generic models.

        Raises:
            ModelError: It was not one of these, or one of models with other embeddings.
        """
        heads = []
        for arm, prefix in ((generic.pixel, "pixel."), (generic.landmark, "landmark.")):
            head = head_of(arrays, prefix, path)
            if head.w1.shape[1] != arm.head.w1.shape[1]:
                msg = f"{path} is a head for other models than these; take another version"
                raise ModelError(msg)
            kept = np.asarray(arrays.get(prefix + "kept", np.zeros(N_EMOTIONS)))
            share = np.asarray(arrays.get(prefix + "share", 0.0))
            if kept.shape != (N_EMOTIONS,) or not np.isin(kept, (0, 1)).all() or share.shape or not 0 <= share <= 1:
                msg = f"{path} does not tell what of the generic head goes on; take another version"
                raise ModelError(msg)
            heads.append(replace(arm, head=head, retained=_retained(arm, kept == 1, float(share))))
        learner = cls(generic)
        learner.arms_ = Arms(*heads)
        return learner


def _retained(generic: Arm, kept: Bool, share: float) -> Retained | None:
    return Retained(generic.head, kept, share) if kept.any() or share > 0 else None


def write_learner(path: Path, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes what a learner learnt."""
    write_arrays(path, {"learner": np.array(name), "format": np.array(FORMAT), **arrays})


def learner_arrays(path: Path) -> tuple[str, Arrays]:
    """The kind of a saved learner and its arrays.

    Raises:
        ModelError: It is missing, damaged, or no learner.
    """
    arrays = read_arrays(path)
    if "learner" not in arrays or "format" not in arrays:
        msg = f"{path} is no personal head; take another version"
        raise ModelError(msg)
    found = arrays["format"].tolist()
    if found not in range(1, FORMAT + 1):
        msg = f"{path} is of format {found}, expected {FORMAT} at most: it was made by another version of attuned"
        raise ModelError(msg)
    return str(arrays["learner"]), arrays
