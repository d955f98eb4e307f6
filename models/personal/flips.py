"""Which confident generic readings a personal head changes at its own risk.

A change of a reading of which the generic head was sure is the gravest thing that a personal head does, so it may be
made only where somebody says that the reading was wrong: a person, of that very second, or the group's labels, of a
face that looks sad or angry by nature. That is the "misleading structural component" of GROUP, section 4.3: such a face
is called sad with confidence whatever it shows, and nothing but the others tells that it is not.

The group's labels are believed for no more than one of these two expressions. Whoever calls every expression by
another's name changes them all, and for all but one of them that counts.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from models.personal.comparison import drawn_blocks
from pipeline.emotions import EMOTIONS, F64, N_EMOTIONS
from pipeline.metrics import I64, Bool

RESTING: Final = tuple(EMOTIONS.index(name) for name in ("anger", "sadness"))
"""What faces are taken for that show nothing (GROUP, sections 4.3 and 5)."""


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What is said of m seconds in the order of time, the largest class each.

    generic, personal, label: (m,) classes. confident: (m,) whether the generic head is sure. human: (m,) whether the
    label is a person's word.
    """

    generic: I64
    personal: I64
    label: I64
    confident: Bool
    human: Bool


@dataclass(frozen=True, slots=True, eq=False)
class Flips:
    """(m,) masks: confident readings that change, those of them that a person called wrong, and those that the group's labels do."""

    changed: Bool
    called_wrong: Bool
    confirmed: Bool

    @property
    def counted(self) -> Bool:
        """(m,) changes that nobody but the personal head asks for."""
        return np.asarray(self.changed & ~self.called_wrong & ~self.confirmed)

    @property
    def excused(self) -> Bool:
        """(m,) changes of readings that were no good measure: neither counted nor among those of which so many may change."""
        return np.asarray(self.called_wrong | self.confirmed)


def flips_of(said: Said, *, n_runs: int, level: float, n_resamples: int, seed: int) -> Flips:
    """The confident readings that change, and who asks for it.

    A person, by a label that is not what the generic head said. The group, where all this holds of the changes away
    from sadness or from anger, whichever changes more: they are in `n_runs` runs of one label or more, for neighbouring labels
    are one observation; the label agrees with what the personal head says more often than with what the generic head
    said; and it does so more often than it says that anywhere, since a head that learnt nothing but which label is
    frequent agrees with it often. The latter two are one-sided lower bounds at `level`, by the bootstrap over runs.
    """
    changed = said.confident & (said.personal != said.generic)
    called_wrong = changed & said.human & (said.label != said.generic)
    nothing = np.zeros_like(changed)
    left = changed & ~said.human & np.isin(said.generic, RESTING)
    if not left.any():
        return Flips(changed, called_wrong, nothing)
    # Which one, is found without a look at the labels: a choice by them would need stricter bounds.
    away = left & (said.generic == np.bincount(said.generic[left]).argmax())
    runs = _runs(said.label, ~said.human)
    _, run = np.unique(runs[away], return_inverse=True)
    if run.max() + 1 < n_runs:
        return Flips(changed, called_wrong, nothing)
    usual = np.bincount(said.label[~said.human], minlength=N_EMOTIONS) / (~said.human).sum()
    agrees = (said.label == said.personal)[away].astype(np.float64)
    gains = np.stack([agrees - (said.label == said.generic)[away], agrees - usual[said.personal[away]]], axis=1)
    low = _lowest(gains, run, level=level, n_resamples=n_resamples, seed=seed)
    return Flips(changed, called_wrong, away if (low > 0).all() else nothing)


def _runs(label: I64, of_group: Bool) -> I64:
    """(m,) number of the run of one label that each second is in; a person's label ends one."""
    key = np.where(of_group, label, -1).tolist()
    return np.cumsum([0, *(before != after for before, after in pairwise(key))], dtype=np.int64)


def _lowest(gains: F64, run: I64, *, level: float, n_resamples: int, seed: int) -> F64:
    """(k,) lower bounds of the means of (m, k) gains, drawn by run."""
    n = int(run.max()) + 1
    drawn = drawn_blocks(n, n_resamples=n_resamples, seed=seed)
    summed = np.stack([np.bincount(run, weights=column) for column in gains.T], axis=1)
    return np.asarray(np.quantile((drawn @ summed) / (drawn @ np.bincount(run))[:, None], 1 - level, axis=0))
