"""The steps of the ablation: settings of the engine with some of its mechanisms switched off."""

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from types import MappingProxyType
from typing import Final

from models.weighing import load_weights
from pipeline.call import DEFAULT_CALL, CallSettings
from pipeline.fusion import DEFAULT_FUSION

ALL: Final = DEFAULT_CALL

ADAPTIVE: Final = replace(
    ALL,
    afterwards=replace(ALL.afterwards, engagement=replace(ALL.afterwards.engagement, odds=inf)),
)
"""No odds are beyond all bounds: nobody is ever unengaged, and everybody counts. What is settled of it is the step after it."""

MEAN: Final = replace(ADAPTIVE, fusion=replace(DEFAULT_FUSION, gain=0.0, rest=0.5))
"""Weights that never leave 0.5."""


def learned() -> CallSettings:
    """As `ADAPTIVE`, with the learned weights in place of the rule: `fusion.rule: learned`.

    Raises:
        ModelError: These are missing or damaged.
    """
    return replace(ADAPTIVE, learned=load_weights())


STEP_SETTINGS: Final[Mapping[str, CallSettings]] = MappingProxyType({"mean": MEAN, "adaptive": ADAPTIVE, "all": ALL})
