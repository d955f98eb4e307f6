"""The parameters of simulated groups: one frozen schema with bounds, read from YAML, every mistake told at once.

What they mean, in which unit, and why the shipped values are what they are stands in `params.yaml` beside this file.
A file may give some of them only; the others keep their shipped values.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from config.errors import ConfigError
from pipeline.types import GroupType

SHIPPED: Final = Path(__file__).parent / "params.yaml"

Emotion = Literal["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
Felt = Literal["anger", "disgust", "fear", "happiness", "sadness", "surprise"]
Poor = Literal["24px", "blurred", "jpeg", "noise", "dark"]


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        msg = f"expected the smaller number first, found {list(pair)}"
        raise ValueError(msg)
    return pair


def _not_nothing(mix: tuple[float, float, float]) -> tuple[float, float, float]:
    if not sum(mix) > 0:
        msg = "expected a share above 0"
        raise ValueError(msg)
    return mix


def _different(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values or len(set(values)) < len(values):
        msg = f"expected one or more different names, found {list(values)}"
        raise ValueError(msg)
    return values


def _several(shares: Mapping[str, float]) -> Mapping[str, float]:
    if sum(share > 0 for share in shares.values()) < 3:  # noqa: PLR2004 (two sub-groups must have something to change to)
        msg = "expected at least three emotions with a share above 0"
        raise ValueError(msg)
    return shares


Share = Annotated[float, Field(ge=0, le=1)]
PerMinute = Annotated[float, Field(ge=0, le=20)]
Seconds = Annotated[float, Field(ge=0, le=600)]
SecondsRange = Annotated[tuple[Seconds, Seconds], AfterValidator(_ordered)]
Ramp = Annotated[float, Field(ge=0, le=5)]
Strength = Annotated[float, Field(ge=0, le=5)]
Emotions = Annotated[Mapping[Emotion, Annotated[float, Field(ge=0, le=1000)]], AfterValidator(_several)]
Mix = Annotated[tuple[Share, Share, Share], AfterValidator(_not_nothing)]
Ramps = Annotated[tuple[Ramp, Ramp], AfterValidator(_ordered)]
Strengths = Annotated[tuple[Strength, Strength], AfterValidator(_ordered)]
Every = Annotated[float, Field(ge=3, le=600)]
EveryRange = Annotated[tuple[Every, Every], AfterValidator(_ordered)]
Number = Annotated[int, Field(ge=2, le=49)]
NumberRange = Annotated[tuple[Number, Number], AfterValidator(_ordered)]
Width = Annotated[float, Field(ge=24, le=1000)]
WidthRange = Annotated[tuple[Width, Width], AfterValidator(_ordered)]
ShareRange = Annotated[tuple[Share, Share], AfterValidator(_ordered)]
Conditions = Annotated[tuple[Poor, ...], AfterValidator(_different)]


class Section(BaseModel):
    """Every section is frozen and knows all its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CallSection(Section):
    """How long a call is, and how often faces are looked at."""

    seconds: Annotated[int, Field(ge=60, le=7200)]
    frames_per_second: Annotated[int, Field(ge=1, le=30)]


class RestingSection(Section):
    """Faces that look like an emotion when they feel none (GROUP, section 4.3)."""

    share: Share
    emotions: Annotated[tuple[Felt, ...], AfterValidator(_different)]
    strength_nats: Strengths


class BehaviourSection(Section):
    """Short expressions that come back again and again, and are meant."""

    share: Share
    every_s: EveryRange
    lasts_s: SecondsRange


class PresenceSection(Section):
    """Who is not there all the time."""

    late_share: Share
    joins_at: ShareRange
    leaves_share: Share
    leaves_at: ShareRange
    away_share: Share
    away_from: ShareRange
    away_s: SecondsRange


class Expressivity(Section):
    """Shares of the members who show little, as much as most, and a lot."""

    faint: Share
    ordinary: Share
    exaggerated: Share

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        _not_nothing((self.faint, self.ordinary, self.exaggerated))
        return self


class Intensity(Section):
    """How often each kind of member shows faint, moderate and strong expressions."""

    faint_below: Share
    strong_from: Share
    faint: Mix
    ordinary: Mix
    exaggerated: Mix

    @model_validator(mode="after")
    def _faint_first(self) -> Self:
        _ordered((self.faint_below, self.strong_from))
        return self


class MembersSection(Section):
    """Who takes part."""

    number: NumberRange
    expressivity: Expressivity
    intensity: Intensity
    faces_per_emotion: Annotated[int, Field(ge=1, le=20)]
    faces_among: Annotated[float, Field(gt=0, le=1)]
    style_nats: Strength
    resting: RestingSection
    unengaged_share: Share
    behaviours: BehaviourSection
    presence: PresenceSection


class Follow(Section):
    """How often a member goes along with a change of the group, in each type of group that has such."""

    engaged: Share
    synchronous: Share
    homogeneous: Share


class GroupSection(Section):
    """What the group feels, and how its members go along."""

    types: Annotated[tuple[GroupType, ...], AfterValidator(_different)]
    emotions: Emotions
    changes_every_s: EveryRange
    follow: Follow
    same_emotion: Share
    engaged_share_when_unengaged: Annotated[float, Field(ge=0, lt=0.5)]
    lag_s: SecondsRange
    lag_jitter_s: Ramp
    polarised_share: Share


class IndividualSection(Section):
    """What a member does on their own."""

    changes_per_minute: PerMinute
    lasts_s: SecondsRange
    ramp_s: Ramps
    glitches_per_minute: PerMinute
    glitch_lasts_s: SecondsRange


class Variation(Section):
    """How far the frames of an expression differ from each other, of each arm."""

    pixel: Annotated[float, Field(ge=0, le=10)]
    landmark: Annotated[float, Field(ge=0, le=10)]


class CameraSection(Section):
    """What lies between a face and its reading."""

    variation: Variation
    steadiness: Annotated[float, Field(ge=0, lt=1)]
    poor_share: Share
    poor_conditions: Conditions
    bursts_per_minute: PerMinute
    burst_lasts_s: SecondsRange
    burst_conditions: Conditions
    width_px: WidthRange
    score: ShareRange
    looks_away_per_minute: PerMinute
    looks_away_s: SecondsRange
    lost_frames_share: Share
    pixel_without_mesh: bool


class Params(Section):
    """Everything that simulated groups depend on besides the seed."""

    call: CallSection
    members: MembersSection
    group: GroupSection
    individual: IndividualSection
    camera: CameraSection


def load_params(path: Path | None = None) -> Params:
    """The shipped parameters, with those that a YAML file gives in their place.

    Raises:
        ConfigError: The file cannot be read, or a key or a value in it is unusable; one line for each mistake.
    """
    values = _read(SHIPPED)
    named = SHIPPED
    if path is not None:
        values, named = _merged(values, _read(path)), path
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise ConfigError([_told(named, mistake) for mistake in error.errors(include_url=False)]) from error


def _told(path: Path, mistake: Any) -> str:  # noqa: ANN401 (pydantic's ErrorDetails)
    where = ".".join(str(part) for part in mistake["loc"]) or "parameters"
    if mistake["type"] == "extra_forbidden":
        return f"{path}: {where}: no such parameter; the shipped params.yaml has all of them"
    return f"{path}: {where}: {mistake['msg'].removeprefix('Value error, ')}, found {mistake['input']!r:.80}"


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror}); give a YAML file of parameters"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 text; give a YAML file of parameters"]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise ConfigError([f"{path}{line}: is not YAML ({problem}); write parameters as `key: value`"]) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError([f"{path}: expected parameters as `key: value`, found {type(values).__name__}"])
    return values


def _merged(shipped: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The given values in place of the shipped ones, section by section; shares of emotions are given as a whole."""
    merged = dict(shipped)
    for key, value in given.items():
        before = shipped.get(key)
        inner = isinstance(before, dict) and isinstance(value, dict) and key != "emotions"
        merged[key] = _merged(before, value) if inner else value  # type: ignore[arg-type]  # seen to be mappings
    return merged
