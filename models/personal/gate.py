"""The gate: may a personal head serve? Judged strictly later in time than it was trained, against the generic head.

A head passes when everything is better, or not worse, that can be told without knowing the truth (GROUP, section 5;
PERSONAL, section 4). What was judged is what serves: a head that passed is not trained again on all samples, since
nobody would have judged that one.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from models.personal.comparison import (
    Gain,
    Rows,
    best_softness,
    calibration_error,
    calibration_lost,
    correlation_gain,
    drawn_blocks,
    log_loss_gain,
    mistaken,
    restricted,
    softened,
)
from models.personal.flips import Said, flips_of
from models.personal.samples import GROUP_NOISE, Samples, stretches
from pipeline.emotions import EMOTIONS, F64, N_EMOTIONS
from pipeline.metrics import I64, Bool


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Constants of the gate.

    block_s, n_blocks: the later part has at least so many blocks of so many seconds with a sample in them.
    later_share: share of the blocks that is the later part, where that is more.
    gap_s: samples so close before the later part are left out of both, so that no neighbouring frame is on both sides.
    n_of_class: samples that a class must have in the earlier part to be among those that are compared.
    level: of the one-sided intervals. n_resamples: of the bootstrap over blocks.
    n_bins, ece_tolerance: the calibration error, over so many bins, may be larger than the generic one by so much, and
        by more where that is not sure.
    noise: share of the group's labels that are taken to be wrong (`comparison.mistaken`); people's are not.
    confident: a generic reading is from this probability on. max_flipped: share of these that may change, but for those
        that somebody says to be wrong (`flips.flips_of`). confirming_runs: runs of one label that the group's word for
        that needs.
    human_blocks, human_share, human_gap_s, human_of_class, human_ece_tolerance: the same where people's labels are
        judged on (`by_people`); their blocks are stretches of one label (`samples.stretches`). Of so few samples the
        calibration error itself is uncertain by about 0.1.
    human_origins: so often at most a head is trained anew on the way through them (`training.train_and_judge`).
    n_components, min_silhouette, pooled_share: on so many principal components of the features the silhouette of the
        classes is at least this, and at least this share of that of many people's faces.
    """

    block_s: float = 10.0
    n_blocks: int = 20
    later_share: float = 0.5
    gap_s: float = 10.0
    n_of_class: int = 10
    level: float = 0.9
    n_resamples: int = 1000
    n_bins: int = 5
    ece_tolerance: float = 0.02
    confident: float = 0.9
    max_flipped: float = 0.05
    confirming_runs: int = 5
    noise: float = GROUP_NOISE
    human_blocks: int = 5
    human_share: float = 0.5
    human_gap_s: float = 2.0
    human_of_class: int = 2
    human_ece_tolerance: float = 0.1
    human_origins: int = 8
    n_components: int = 5
    min_silhouette: float = 0.1
    pooled_share: float = 0.5


DEFAULT_GATE: Final = GateSettings()

_SUM_TOLERANCE: Final = 1e-3


def by_people(settings: GateSettings) -> GateSettings:
    """The constants for samples that people labelled: they were asked, so fewer tell more."""
    return replace(
        settings,
        n_blocks=settings.human_blocks,
        later_share=settings.human_share,
        gap_s=settings.human_gap_s,
        n_of_class=settings.human_of_class,
        ece_tolerance=settings.human_ece_tolerance,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Masks of (n,) samples: what is trained on and what is judged on; `why_not` where time does not suffice."""

    earlier: Bool
    later: Bool
    why_not: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What both heads say of the m samples of the later part.

    time_s: (m,). personal, generic, target: (m, 7) probabilities; the target is what the others showed, or a person's
    word (`Samples.told`). classes: indices of the classes that are compared, in order. block: (m,) what is drawn together by the
    bootstrap, ascending; None: tens of seconds. human: (m,) whether the target is a person's word; None: of none.
    """

    time_s: F64
    personal: F64
    generic: F64
    target: F64
    classes: tuple[int, ...]
    block: I64 | None = None
    human: Bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the verdict rests on.

    log_loss: nats of the soft labels, lower is better, of each head at its best softness (`comparison.best_softness`).
    Labels of a group are soft, and whatever learns from them becomes as soft: a head that learnt nothing else would have
    the better log-loss. How soft a head is, is judged by its calibration. correlation: temporal, with the label, mean over the classes.
    ece_generic, ece_personal: calibration errors.
    n_confident, n_flipped: confident generic readings, and those of them whose largest class the personal head changes;
    in both without the n_excused changes that a person or, of one expression, the group's labels ask for (`models.personal.flips`).
    n_flipped_to_label: those of the n_flipped that the label agrees with; told, not judged, since the label may be wrong.
    silhouette, pooled_silhouette: in [-1, 1], of this person's features and of many people's (None: not known).
    """

    log_loss: Gain
    softness_generic: float
    softness_personal: float
    correlation: Gain
    ece_generic: float
    ece_personal: float
    ece_lost: float
    n_confident: int
    n_flipped: int
    n_flipped_to_label: int
    n_excused: int
    silhouette: float
    pooled_silhouette: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a head may serve.

    reasons: why not, in words; none for a head that may. n_trained, n_judged: samples of each part; n_blocks: of the
    later part. classes: those compared. figures: None where nothing could be judged.
    """

    reasons: tuple[str, ...]
    n_trained: int
    n_judged: int = 0
    n_blocks: int = 0
    classes: tuple[str, ...] = ()
    figures: Figures | None = None

    @property
    def passed(self) -> bool:
        """Whether the head may serve."""
        return not self.reasons

    def as_json(self) -> dict[str, Any]:
        """Every figure by name."""
        return {"passed": self.passed, **asdict(self), "reasons": list(self.reasons), "classes": list(self.classes)}


def split_in_time(time_s: F64, settings: GateSettings = DEFAULT_GATE) -> Split:
    """The later part of (n,) ascending times, from a border of blocks on, and the part that ends a gap before it.

    The later part is never more than half of the blocks.
    """
    blocks = np.unique(_blocks(time_s, settings))
    n_later = max(settings.n_blocks, int(settings.later_share * len(blocks)))
    if 2 * n_later > len(blocks):
        nothing = np.zeros(len(time_s), dtype=np.bool_)
        needed = f"{2 * settings.n_blocks} are needed to train on the earlier half and judge on the later"
        return Split(nothing, nothing, f"samples in {len(blocks)} blocks of {settings.block_s:g} s; {needed}")
    border_s = float(blocks[-n_later]) * settings.block_s
    return Split(earlier=time_s < border_s - settings.gap_s, later=time_s >= border_s)


def split_by_people(samples: Samples, settings: GateSettings = DEFAULT_GATE) -> Split:
    """The later part of what people labelled, in stretches of one label, and all samples that end a gap before it.

    settings: as `by_people` gives them.
    """
    human = samples.human
    block = stretches(samples.time_s[human], samples.label[human])
    n = int(block[-1]) + 1 if len(block) else 0
    n_later = max(settings.n_blocks, int(settings.later_share * n))
    if 2 * n_later > n:
        nothing = np.zeros(len(samples), dtype=np.bool_)
        return Split(nothing, nothing, f"people labelled {n} of {2 * n_later} stretches of one expression")
    border_s = float(samples.time_s[human][block == n - n_later][0])
    return Split(earlier=samples.time_s < border_s - settings.gap_s, later=human & (samples.time_s >= border_s))


def classes_of(label: I64, settings: GateSettings = DEFAULT_GATE) -> tuple[int, ...]:
    """The classes that a head has seen often enough, from the (n,) labels it is trained on."""
    counts = np.bincount(label, minlength=N_EMOTIONS)
    return tuple(int(c) for c in np.flatnonzero(counts >= settings.n_of_class))


def judge(
    judged: Judged,
    *,
    n_trained: int,
    silhouette: float,
    pooled_silhouette: float | None,
    seed: int,
    settings: GateSettings = DEFAULT_GATE,
) -> Verdict:
    """The verdict on a head, from what it and the generic head say of the later part.

    Samples with a label outside `classes` are left out of all but the flipped readings.

    n_trained: samples of the earlier part. silhouette: of their features (`comparison.separability`);
    pooled_silhouette: of many people's faces of the same classes, None where that is not known.
    """
    names = tuple(EMOTIONS[c] for c in judged.classes)
    known = np.isin(judged.target.argmax(axis=1), judged.classes)
    drawn = _blocks(judged.time_s, settings) if judged.block is None else judged.block
    blocks, block = np.unique(drawn[known], return_inverse=True)
    why_not = _why_not(judged, known, len(blocks), settings)
    figures = None if why_not else _figures(judged, known, block, silhouette, pooled_silhouette, seed, settings)
    return Verdict(
        reasons=_reasons(figures, settings) if figures else (why_not or "",),
        n_trained=n_trained,
        n_judged=int(known.sum()),
        n_blocks=len(blocks),
        classes=names,
        figures=figures,
    )


def _figures(
    judged: Judged,
    known: Bool,
    block: I64,
    silhouette: float,
    pooled_silhouette: float | None,
    seed: int,
    settings: GateSettings,
) -> Figures:
    target, generic, personal = (
        restricted(p[known], judged.classes) for p in (judged.target, judged.generic, judged.personal)
    )
    rows = Rows(target, generic, personal, block)
    human = np.zeros(len(known), dtype=np.bool_) if judged.human is None else judged.human
    told, noise = target.mean(axis=0), np.where(human[known], 0.0, settings.noise)[:, None]
    wrong = Rows(target, mistaken(generic, told, noise), mistaken(personal, told, noise), block)
    of_generic, of_personal = best_softness(target, generic), best_softness(target, personal)
    softer = [mistaken(p, told, noise) for p in (softened(generic, of_generic), softened(personal, of_personal))]
    soft = Rows(target, softer[0], softer[1], block)
    drawn = drawn_blocks(rows.n_blocks, n_resamples=settings.n_resamples, seed=seed)
    top, generic_top, label = (p.argmax(axis=1) for p in (judged.personal, judged.generic, judged.target))
    confident = judged.generic.max(axis=1) >= settings.confident
    flips = flips_of(
        Said(generic_top, top, label, confident, human),
        n_runs=settings.confirming_runs,
        level=settings.level,
        n_resamples=settings.n_resamples,
        seed=seed,
    )
    return Figures(
        log_loss=log_loss_gain(soft, drawn, level=settings.level),
        softness_generic=of_generic,
        softness_personal=of_personal,
        correlation=correlation_gain(rows, drawn, level=settings.level),
        ece_generic=calibration_error(target, wrong.generic, n_bins=settings.n_bins),
        ece_personal=calibration_error(target, wrong.personal, n_bins=settings.n_bins),
        ece_lost=calibration_lost(wrong, drawn, n_bins=settings.n_bins, level=settings.level),
        n_confident=int((confident & ~flips.excused).sum()),
        n_flipped=int(flips.counted.sum()),
        n_flipped_to_label=int((flips.counted & (top == label)).sum()),
        n_excused=int(flips.excused.sum()),
        silhouette=silhouette,
        pooled_silhouette=pooled_silhouette,
    )


def _blocks(time_s: F64, settings: GateSettings) -> I64:
    return np.asarray(np.floor(time_s / settings.block_s), dtype=np.int64)


def _why_not(judged: Judged, known: Bool, n_blocks: int, settings: GateSettings) -> str | None:
    """Why nothing can be judged."""
    for name, p in (("personal", judged.personal), ("generic", judged.generic)):
        if not np.isfinite(p).all() or (p < 0).any() or (np.abs(p.sum(axis=1) - 1) > _SUM_TOLERANCE).any():
            return f"the {name} head gives what are no probabilities"
    if len(judged.classes) < 2:  # noqa: PLR2004 (one class)
        return f"fewer than two expressions have {settings.n_of_class} samples to learn from"
    if n_blocks < settings.n_blocks:
        what = f"blocks of {settings.block_s:g} s" if judged.block is None else "stretches of one expression"
        return f"the later part has {n_blocks} of {settings.n_blocks} {what} to judge on"
    seen = np.unique(judged.target[known].argmax(axis=1))
    if len(seen) < 2:  # noqa: PLR2004
        return f"the later part shows one expression only, {EMOTIONS[int(seen[0])]}"
    return None


def _reasons(figures: Figures, settings: GateSettings) -> tuple[str, ...]:
    """Every reason against the head, in plain words."""
    reasons = []
    loss, moves = figures.log_loss, figures.correlation
    sure = f"{settings.level:.0%} sure gain"
    if not loss.low > 0:
        reasons.append(f"log-loss {loss.personal:.3f} is not better than {loss.generic:.3f} ({sure} {loss.low:+.3f})")
    if not moves.low > 0:
        told = f"{moves.personal:.3f} is not better than {moves.generic:.3f} ({sure} {moves.low:+.3f})"
        reasons.append(f"correlation with the label {told}")
    if figures.ece_personal > figures.ece_generic + settings.ece_tolerance and figures.ece_lost > 0:
        told = f"{figures.ece_personal:.3f} is surely worse than {figures.ece_generic:.3f}"
        reasons.append(f"calibration error {told} by more than {settings.ece_tolerance:g}")
    if figures.n_flipped > settings.max_flipped * figures.n_confident:
        told = f"{figures.n_flipped} of {figures.n_confident} confident generic readings"
        reasons.append(f"it changes {told}, more than {settings.max_flipped:.0%}")
    if figures.silhouette < settings.min_silhouette:
        told = f"silhouette {figures.silhouette:.2f} below {settings.min_silhouette:g}"
        reasons.append(f"this face differs too little between expressions ({told})")
    pooled = figures.pooled_silhouette
    if pooled is not None and figures.silhouette < settings.pooled_share * pooled:
        told = f"silhouette {figures.silhouette:.2f} below {settings.pooled_share:g} of {pooled:.2f}"
        reasons.append(f"this face differs much less between expressions than others do ({told})")
    return tuple(reasons)
