"""When it is worth trying a new head."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TriggerSettings:
    """What must be there before a training begins.

    n_samples: in all; n_classes, n_of_class: so many classes with so many samples each.
    n_new: since the last attempt, whatever came of it.
    n_blocks: tens of seconds with a sample; with fewer the gate could not judge (twice `GateSettings.n_blocks`).
    """

    n_samples: int = 240
    n_classes: int = 3
    n_of_class: int = 20
    n_new: int = 120
    n_blocks: int = 40


DEFAULT_TRIGGER = TriggerSettings()


def why_not_yet(
    of_class: Mapping[str, int], *, n_new: int, n_blocks: int, settings: TriggerSettings = DEFAULT_TRIGGER
) -> str | None:
    """What is missing, in a few words; None when a training is due.

    of_class: samples of each class; n_new: since the last attempt; n_blocks: tens of seconds with a sample.
    """
    n = sum(of_class.values())
    if n < settings.n_samples:
        return f"{n} of {settings.n_samples} samples"
    enough = [name for name, count in of_class.items() if count >= settings.n_of_class]
    if len(enough) < settings.n_classes:
        return f"{len(enough)} of {settings.n_classes} expressions with {settings.n_of_class} samples each"
    if n_blocks < settings.n_blocks:
        return f"samples in {n_blocks} of {settings.n_blocks} tens of seconds"
    if n_new < settings.n_new:
        return f"{n_new} of {settings.n_new} new samples since the last attempt"
    return None
