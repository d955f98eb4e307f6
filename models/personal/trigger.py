"""When it is worth trying a new head."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """How many samples there are.

    of_class: by the largest class of their label. n_new: since the last attempt. n_blocks: tens of seconds with a
    sample; of what people labelled, stretches of one label (`samples.stretches`).
    """

    of_class: Mapping[str, int]
    n_new: int
    n_blocks: int

    @property
    def n(self) -> int:
        """How many in all."""
        return sum(self.of_class.values())


@dataclass(frozen=True, slots=True)
class TriggerSettings:
    """What must be there before a training begins.

    n_samples: in all; n_classes, n_of_class: so many classes with so many samples each.
    n_new: since the last attempt, whatever came of it, and at least the share `new_share` of all: more would be said by
        chance in the end, and cost the more the more there are.
    n_blocks: tens of seconds with a sample; with fewer the gate could not judge (twice `GateSettings.n_blocks`).
    human_samples, human_of_class, human_new, human_new_share: the same of samples that people labelled, who need fewer: they were
        asked, and do not repeat themselves every second. Either is enough.
    human_blocks: stretches of one label (`samples.stretches`) among these (twice `GateSettings.human_blocks`).
    """

    n_samples: int = 240
    n_classes: int = 3
    n_of_class: int = 20
    n_new: int = 120
    new_share: float = 0.25
    n_blocks: int = 44
    human_samples: int = 30
    human_of_class: int = 3
    human_new: int = 4
    human_new_share: float = 0.1
    human_blocks: int = 12


DEFAULT_TRIGGER = TriggerSettings()


def why_not_yet(whole: Tally, human: Tally, settings: TriggerSettings = DEFAULT_TRIGGER) -> str | None:
    """What is missing, in a few words; None when a training is due.

    whole: all samples; human: those that people labelled, which may be enough alone. Where most are people's, it is
    told what is missing of these.
    """
    of_people = _missing(
        human,
        n_samples=settings.human_samples,
        n_classes=settings.n_classes,
        n_of_class=settings.human_of_class,
        n_blocks=settings.human_blocks,
        n_new=max(settings.human_new, int(settings.human_new_share * human.n)),
        blocks="stretches of one expression",
    )
    of_all = _missing(
        whole,
        n_samples=settings.n_samples,
        n_classes=settings.n_classes,
        n_of_class=settings.n_of_class,
        n_blocks=settings.n_blocks,
        n_new=max(settings.n_new, int(settings.new_share * whole.n)),
        blocks="tens of seconds",
    )
    if of_people is None or of_all is None:
        return None
    return of_people if 2 * human.n > whole.n else of_all


def _missing(
    tally: Tally, *, n_samples: int, n_classes: int, n_of_class: int, n_blocks: int, n_new: int, blocks: str
) -> str | None:
    if tally.n < n_samples:
        return f"{tally.n} of {n_samples} samples"
    enough = [name for name, count in tally.of_class.items() if count >= n_of_class]
    if len(enough) < n_classes:
        return f"{len(enough)} of {n_classes} expressions with {n_of_class} samples each"
    if tally.n_blocks < n_blocks:
        return f"samples in {tally.n_blocks} of {n_blocks} {blocks}"
    if tally.n_new < n_new:
        return f"{tally.n_new} of {n_new} new samples since the last attempt"
    return None
