"""The sections of the algorithms: `pipeline` says what each constant means, here are the bounds it must keep."""

from typing import Literal, Self

from pydantic import Field, model_validator

from config.sections import Section
from pipeline.changes import DEFAULT_CHANGES
from pipeline.denoise import DEFAULT_DENOISE, DEFAULT_TRANSIENTS
from pipeline.engagement import DEFAULT_ENGAGEMENT
from pipeline.fusion import DEFAULT_FUSION
from pipeline.group import DEFAULT_GROUP
from pipeline.labelling import DEFAULT_LABELS
from pipeline.polarisation import DEFAULT_POLARISATION
from pipeline.synchrony import DEFAULT_SYNCHRONY


class FusionSection(Section):
    """Constants of the adaptive weights; `pipeline.fusion.FusionSettings` says more."""

    rule: Literal["adaptive", "learned"] = "adaptive"
    """What weighs the models: the rule of GROUP, section 4.3, or a regression, `models/weights/weights.md`."""
    every_s: int = Field(DEFAULT_FUSION.every_s, ge=1)
    first_s: int = Field(DEFAULT_FUSION.first_s, ge=1)
    gain: float = Field(DEFAULT_FUSION.gain, ge=0, le=1)
    pull: float = Field(DEFAULT_FUSION.pull, ge=0, le=1)
    rest: float = Field(DEFAULT_FUSION.rest, ge=0, le=1)
    weight_min: float = Field(DEFAULT_FUSION.weight_min, ge=0, le=0.5)
    weight_max: float = Field(DEFAULT_FUSION.weight_max, ge=0.5, le=1)
    abstain_confidence: float = Field(DEFAULT_FUSION.abstain_confidence, ge=0, le=1)
    abstain_quality: float = Field(DEFAULT_FUSION.abstain_quality, ge=0, le=1)


class ChangesSection(Section):
    """Constants of change detection; `pipeline.changes.ChangeSettings` says more."""

    distance: float = Field(DEFAULT_CHANGES.distance, gt=0, le=1)
    alone: float = Field(DEFAULT_CHANGES.alone, ge=0, le=1)
    hold: int = Field(DEFAULT_CHANGES.hold, ge=1, le=60)
    together_s: int = Field(DEFAULT_CHANGES.together_s, ge=0, le=60)
    window_s: int = Field(DEFAULT_CHANGES.window_s, ge=1, le=3600)
    gap_s: int = Field(DEFAULT_CHANGES.gap_s, ge=0, le=600)
    follow: float = Field(DEFAULT_CHANGES.follow, ge=0, le=1)
    least_s: int = Field(DEFAULT_CHANGES.least_s, ge=1, le=3600)


class NoiseSection(Section):
    """Constants of the noise of one participant; `pipeline.denoise.TransientSettings` says more."""

    distance: float = Field(DEFAULT_TRANSIENTS.distance, gt=0)
    back: float = Field(DEFAULT_TRANSIENTS.back, ge=0, le=1)
    longest_s: int = Field(DEFAULT_TRANSIENTS.longest_s, ge=0, le=30)
    recurs: int = Field(DEFAULT_TRANSIENTS.recurs, ge=0)
    recurs_window_s: int = Field(DEFAULT_TRANSIENTS.recurs_window_s, ge=1, le=3600)
    reference_s: int = Field(DEFAULT_TRANSIENTS.reference_s, ge=1, le=600)
    lag_s: int = Field(DEFAULT_TRANSIENTS.lag_s, ge=0, le=60)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """An excursion and its return must have been seen before it is judged."""
        if self.lag_s <= self.longest_s:
            msg = f"lag_s {self.lag_s}: must be more than longest_s {self.longest_s}"
            raise ValueError(msg)
        return self


class DenoiseSection(Section):
    """Constants of the noise of the group; `pipeline.denoise.DenoiseSettings` says more."""

    window_s: int = Field(DEFAULT_DENOISE.window_s, ge=2, le=3600)
    energy: float = Field(DEFAULT_DENOISE.energy, gt=0, le=1)
    floor: float | None = Field(DEFAULT_DENOISE.floor, gt=0)
    gap_s: int = Field(DEFAULT_DENOISE.gap_s, ge=0, le=600)


class GroupSection(Section):
    """Constants of the group synthesis; `pipeline.group.GroupSettings` says more."""

    minimum: int = Field(DEFAULT_GROUP.minimum, ge=2)
    """Members from which on the group is published; one person is no group."""
    dominant_share: float = Field(DEFAULT_GROUP.dominant_share, ge=0, le=1)
    dominant_ratio: float = Field(DEFAULT_GROUP.dominant_ratio, ge=0, le=1)


class PolarisationSection(Section):
    """Constants of sub-groups; `pipeline.polarisation.PolarisationSettings` says more."""

    silhouette: float = Field(DEFAULT_POLARISATION.silhouette, ge=-1, le=1)
    distance: float = Field(DEFAULT_POLARISATION.distance, gt=0)
    tight: float = Field(DEFAULT_POLARISATION.tight, ge=-1, le=1)
    share: float = Field(DEFAULT_POLARISATION.share, ge=0, le=0.5)
    cover: float = Field(DEFAULT_POLARISATION.cover, ge=0, le=1)
    small: int = Field(DEFAULT_POLARISATION.small, ge=0, le=12)
    largest_k: int = Field(DEFAULT_POLARISATION.largest_k, ge=2, le=10)
    rounds: int = Field(DEFAULT_POLARISATION.rounds, ge=1, le=1000)
    mean_s: int = Field(DEFAULT_POLARISATION.mean_s, ge=1, le=60)
    hold_s: int = Field(DEFAULT_POLARISATION.hold_s, ge=1, le=600)


class SynchronySection(Section):
    """Constants of how movements are compared; `pipeline.synchrony.SynchronySettings` says more."""

    step_s: int = Field(DEFAULT_SYNCHRONY.step_s, ge=1, le=60)
    step_least: int = Field(DEFAULT_SYNCHRONY.step_least, ge=1, le=60)
    lag_s: int = Field(DEFAULT_SYNCHRONY.lag_s, ge=0, le=30)
    told_lag_s: int = Field(DEFAULT_SYNCHRONY.told_lag_s, ge=0, le=30)
    guard_s: int = Field(DEFAULT_SYNCHRONY.guard_s, ge=0, le=120)
    window_s: int = Field(DEFAULT_SYNCHRONY.window_s, ge=60, le=3600)
    least_s: int = Field(DEFAULT_SYNCHRONY.least_s, ge=10, le=3600)
    least_shifts: int = Field(DEFAULT_SYNCHRONY.least_shifts, ge=1)
    alpha: float = Field(DEFAULT_SYNCHRONY.alpha, gt=0, lt=1)


class EngagementSection(Section):
    """Constants of engagement and group type; `pipeline.engagement.EngagementSettings` says more."""

    synchrony: SynchronySection = SynchronySection()
    every_s: int = Field(DEFAULT_ENGAGEMENT.every_s, ge=1, le=60)
    engaged_p: float = Field(DEFAULT_ENGAGEMENT.engaged_p, gt=0, lt=1)
    odds: float = Field(DEFAULT_ENGAGEMENT.odds, ge=0, le=100)
    least_strength: float = Field(DEFAULT_ENGAGEMENT.least_strength, gt=0, le=100)
    evidence_share: float = Field(DEFAULT_ENGAGEMENT.evidence_share, gt=0, le=1)
    kept_share: float = Field(DEFAULT_ENGAGEMENT.kept_share, ge=0, le=1)
    memory_s: int = Field(DEFAULT_ENGAGEMENT.memory_s, ge=0, le=3600)
    type_window_s: int = Field(DEFAULT_ENGAGEMENT.type_window_s, ge=30, le=3600)
    type_recent_s: int = Field(DEFAULT_ENGAGEMENT.type_recent_s, ge=10, le=3600)
    type_moved_on: float = Field(DEFAULT_ENGAGEMENT.type_moved_on, ge=0, le=2)
    engaged_coupling: float = Field(DEFAULT_ENGAGEMENT.engaged_coupling, ge=-1, le=2)
    synchronous_coupling: float = Field(DEFAULT_ENGAGEMENT.synchronous_coupling, ge=-1, le=1)
    homogeneous_coupling: float = Field(DEFAULT_ENGAGEMENT.homogeneous_coupling, ge=-1, le=1)
    alike: float = Field(DEFAULT_ENGAGEMENT.alike, ge=0, le=1)
    alike_ratio: float = Field(DEFAULT_ENGAGEMENT.alike_ratio, ge=0, le=1)
    alike_lags_s: tuple[int, ...] = DEFAULT_ENGAGEMENT.alike_lags_s
    type_hold_s: int = Field(DEFAULT_ENGAGEMENT.type_hold_s, ge=0, le=600)


class LabelsSection(Section):
    """Constants of the labels that a group gives its members; `pipeline.labelling.LabelSettings` says more."""

    least_others: int = Field(DEFAULT_LABELS.least_others, ge=2)
    least_share: float = Field(DEFAULT_LABELS.least_share, ge=0, le=1)
    alike: float = Field(DEFAULT_LABELS.alike, ge=0, le=1)
    confidence: float = Field(DEFAULT_LABELS.confidence, ge=0, le=1)
    window_s: int = Field(DEFAULT_LABELS.window_s, ge=1, le=3600)
    held_share: float = Field(DEFAULT_LABELS.held_share, ge=0, le=1)
    least_s: int = Field(DEFAULT_LABELS.least_s, ge=1, le=3600)
