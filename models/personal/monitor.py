"""Watches a personal head that serves, and tells when it does harm.

Every label that arrives says which of two readings of that second was better, the personal or the generic one: both
were made before the label was known. Differences of log-loss are averaged over blocks of time, and each block is a
bet against the head: the stake grows when the head was worse and shrinks when it was better, but never below its
beginning, so that a head that was good for long is found out as fast as a new one (the e-CUSUM of Shin, Ramdas &
Rinaldo 2023, "E-detectors: a nonparametric framework for sequential change detection"). One may look after each block:
a head that is not worse is called harmful once in `patience` blocks at most, on average.

All seven classes count, unlike at the gate: a head that was never judged on fear may still do harm to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from models.personal.comparison import cross_entropy, softened
from pipeline.emotions import F64


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """Constants of the monitor.

    block_s: seconds whose labels count as one. limit: a block's difference, in nats, counts for at most so much.
    patience: blocks between two false alarms, at least, on average. human_weight: a person's label counts for so many
    of the group's.
    """

    block_s: float = 10.0
    limit: float = 2.0
    patience: float = 1000.0
    human_weight: float = 3.0


DEFAULT_MONITOR: Final = MonitorSettings()

_STAKES: Final = np.array([0.1, 0.3, 0.6, 0.9])
"""Shares that are bet: small ones find small harm in the long run, large ones large harm at once."""


@dataclass(frozen=True, slots=True)
class Harm:
    """What is known of a head that does harm: blocks it was watched for, and its mean loss against the generic one.

    worse_by: mean over all blocks, in nats; evidence: the largest stake, `patience` or more.
    """

    version: str
    n_blocks: int
    worse_by: float
    evidence: float

    @property
    def reason(self) -> str:
        """In plain words."""
        return f"{self.version} was worse than the generic head on the labels of {self.n_blocks} blocks of time"


class LiveMonitor:
    """Compares one version with the generic head; a new version gets a new monitor.

    Args:
        version: What is watched.
        softness_generic, softness_personal: Of the two heads, as the gate found them; see `gate.Figures`.

    Attributes:
        n_late: Labels of blocks that were counted already.
        harm: What was found, once it was; from then on labels are no longer counted.
    """

    def __init__(
        self,
        version: str,
        *,
        softness_generic: float = 1.0,
        softness_personal: float = 1.0,
        settings: MonitorSettings = DEFAULT_MONITOR,
    ) -> None:
        self._version = version
        self._softness = softness_personal, softness_generic
        self._settings = settings
        self._wealth = np.ones_like(_STAKES)
        self._block: int | None = None
        self._worse = self._weight = 0.0
        self._total = 0.0
        self.n_blocks = self.n_late = 0
        self.harm: Harm | None = None

    @classmethod
    def of(cls, version: str, verdict: Mapping[str, Any], *, settings: MonitorSettings = DEFAULT_MONITOR) -> Self:
        """The monitor of a version that was promoted for this verdict (`store.Version.verdict`)."""
        figures = verdict.get("figures") or {}
        return cls(
            version,
            softness_generic=figures.get("softness_generic", 1.0),
            softness_personal=figures.get("softness_personal", 1.0),
            settings=settings,
        )

    def add(self, time_s: float, *, personal: F64, generic: F64, target: F64, human: bool = False) -> Harm | None:
        """Takes a label in; what is known against the head once it is too much, and only then.

        personal, generic: (7,) fused readings of that second, with the heads that are compared and all else the same;
        target: (7,) the label. Labels of a block count when a later block begins.
        """
        if self.harm is not None:
            return None
        block = int(np.floor(time_s / self._settings.block_s))
        if self._block is not None and block < self._block:
            self.n_late += 1
            return None
        if self._block is not None and block > self._block:
            self._close()
        self._block = block
        weight = self._settings.human_weight if human else 1.0
        ours, theirs = (
            float(cross_entropy(target, softened(p[None], softness)[0]))
            for p, softness in zip((personal, generic), self._softness, strict=True)
        )
        self._worse += weight * (ours - theirs)
        self._weight += weight
        return self.harm

    def _close(self) -> None:
        """Bets on the block that is over."""
        worse_by = self._worse / self._weight
        self._worse = self._weight = 0.0
        self.n_blocks += 1
        self._total += worse_by
        bet = float(np.clip(worse_by / self._settings.limit, -1.0, 1.0))
        self._wealth = np.maximum(self._wealth, 1.0) * (1.0 + _STAKES * bet)
        # The mean of detectors is one too (Shin et al., section 2).
        evidence = float(self._wealth.mean())
        if evidence >= self._settings.patience:
            self.harm = Harm(self._version, self.n_blocks, self._total / self.n_blocks, evidence)
