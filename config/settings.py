"""The settings of attuned: one frozen schema, read from YAML and the environment, every mistake told at once.

Precedence: what the command line gives, `ATTUNED_A__B` from the environment, the YAML file, the defaults here.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from config.errors import ConfigError
from pipeline.call import DEFAULT_CALL
from pipeline.changes import DEFAULT_CHANGES
from pipeline.fusion import DEFAULT_FUSION
from pipeline.gallery import DEFAULT_GALLERY
from pipeline.group import DEFAULT_GROUP

Purpose = Literal["research", "healthcare", "safety", "personal", "demo"]
Consent = Literal["required", "declared"]
REFUSED_PURPOSES = {
    "workplace": "inferring emotions of people at work is prohibited in the EU (AI Act, Art. 5(1)(f))",
    "education": "inferring emotions of people in education is prohibited in the EU (AI Act, Art. 5(1)(f))",
}
ENVIRONMENT_PREFIX = "ATTUNED_"
SESSION_NAME = r"^[A-Za-z0-9_.-]{1,64}$"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
NOT_SETTINGS = {"ATTUNED_DEV_DATA"}


class _Section(BaseModel):
    """What all sections share: nothing unknown, nothing that changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class AnalysisSection(_Section):
    """How often and with how many threads faces are read."""

    rate_hz: float = Field(DEFAULT_CALL.rate_hz, gt=0, le=30)
    """Frames of each participant that are read per second."""
    grace_ms: int = Field(200, ge=0, le=5000)
    """How long after its end a second still takes readings."""
    workers: int = Field(2, ge=1, le=64)
    """Threads that find faces."""


class ModelsSection(_Section):
    """Which expression models read the faces: names that `attuned models list` shows."""

    pixel: str = Field("pixel", min_length=1)
    """Or the path of a YAML description of another one, relative to the working folder."""
    landmark: str = Field("landmark", min_length=1)


class GallerySection(_Section):
    """How tiles are told from the page they are drawn on; `pipeline.gallery.GallerySettings` says more."""

    page_tolerance: int = Field(DEFAULT_GALLERY.page_tolerance, ge=0, le=255)
    page_share: float = Field(DEFAULT_GALLERY.page_share, gt=0.5, le=1)
    gutter_min_px: int = Field(DEFAULT_GALLERY.gutter_min_px, ge=1)
    gutter_max: float = Field(DEFAULT_GALLERY.gutter_max, gt=0, le=0.5)
    tile_min_px: int = Field(DEFAULT_GALLERY.tile_min_px, ge=24)
    size_tolerance: float = Field(DEFAULT_GALLERY.size_tolerance, ge=0, lt=1)
    aspect_min: float = Field(DEFAULT_GALLERY.aspect_min, gt=0)
    aspect_max: float = Field(DEFAULT_GALLERY.aspect_max, gt=0)
    max_tiles: int = Field(DEFAULT_GALLERY.max_tiles, ge=2, le=49)
    contrast_min: float = Field(DEFAULT_GALLERY.contrast_min, ge=0, le=255)
    hold: int = Field(DEFAULT_GALLERY.hold, ge=1)


class FusionSection(_Section):
    """Constants of the adaptive weights; `pipeline.fusion.FusionSettings` says more."""

    every_s: int = Field(DEFAULT_FUSION.every_s, ge=1)
    first_s: int = Field(DEFAULT_FUSION.first_s, ge=1)
    gain: float = Field(DEFAULT_FUSION.gain, ge=0, le=1)
    pull: float = Field(DEFAULT_FUSION.pull, ge=0, le=1)
    weight_min: float = Field(DEFAULT_FUSION.weight_min, ge=0, le=0.5)
    weight_max: float = Field(DEFAULT_FUSION.weight_max, ge=0.5, le=1)
    abstain_confidence: float = Field(DEFAULT_FUSION.abstain_confidence, ge=0, le=1)
    abstain_quality: float = Field(DEFAULT_FUSION.abstain_quality, ge=0, le=1)


class ChangesSection(_Section):
    """Constants of change detection; `pipeline.changes.ChangeSettings` says more."""

    distance: float = Field(DEFAULT_CHANGES.distance, gt=0, le=1)
    hold: int = Field(DEFAULT_CHANGES.hold, ge=1, le=60)
    together_s: int = Field(DEFAULT_CHANGES.together_s, ge=0, le=60)
    window_s: int = Field(DEFAULT_CHANGES.window_s, ge=1, le=3600)


class GroupSection(_Section):
    """Constants of the group synthesis; `pipeline.group.GroupSettings` says more."""

    minimum: int = Field(DEFAULT_GROUP.minimum, ge=2)
    """Members from which on the group is published; one person is no group."""
    dominant_share: float = Field(DEFAULT_GROUP.dominant_share, ge=0, le=1)
    dominant_ratio: float = Field(DEFAULT_GROUP.dominant_ratio, ge=0, le=1)


class MqttSection(_Section):
    """Where readings are published."""

    broker: Literal["embedded", "external"] = "embedded"
    """`embedded` starts a broker inside the process, bound to `host`; `external` connects to one."""
    host: str = Field("127.0.0.1", pattern=r"^[^\s\x00]+$")
    port: int = Field(1883, ge=1, le=65535)
    root: str = Field("attuned", pattern=r"^[^/+#\s]+$")
    """First level of every topic."""
    username: str | None = None
    password: SecretStr | None = None
    keepalive_s: int = Field(30, ge=5, le=3600)

    @model_validator(mode="after")
    def _embedded_stays_home(self) -> Self:
        """The embedded broker asks nobody who they are."""
        if self.broker == "embedded" and self.host not in LOOPBACK:
            msg = f"host {self.host}: the embedded broker is for this machine alone; set broker: external, or no host"
            raise ValueError(msg)
        return self


class OutboxSection(_Section):
    """Events that wait for the broker, on disk."""

    max_messages: int = Field(100_000, ge=1)
    """The oldest are discarded beyond this, counted and announced."""


class HttpSection(_Section):
    """Health and metrics."""

    host: Literal["127.0.0.1", "::1", "localhost"] = "127.0.0.1"
    """Loopback only: there is no authentication yet."""
    port: int = Field(8765, ge=1, le=65535)


class MetricsSection(_Section):
    """What Prometheus sees."""

    group_emotion: bool = True
    """Group emotion per session, from three members on; individuals never."""


class LogSection(_Section):
    """Logs go to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"
    """`auto`: text in a terminal, JSON elsewhere."""


class SessionSection(_Section):
    """One call."""

    name: str = Field(pattern=SESSION_NAME)
    """Stands in topics and metrics: no person's name."""
    url: str = Field(min_length=1)
    purpose: Purpose
    consent: Consent | None = None
    """None: `required` for live calls, `declared` for recordings."""

    @field_validator("purpose", mode="before")
    @classmethod
    def _refuse(cls, value: object) -> object:
        """Purposes that the law refuses are refused with the reason."""
        return check_purpose(value)


def check_purpose(value: object) -> object:
    """The value, unless the law refuses it as a purpose.

    Raises:
        ValueError: The purpose is `workplace` or `education`.
    """
    if isinstance(value, str) and value in REFUSED_PURPOSES:
        msg = f"{value} is refused: {REFUSED_PURPOSES[value]}; medical or safety uses declare healthcare or safety"
        raise ValueError(msg)
    return value


class Settings(BaseSettings):
    """Everything that can be configured. Only `daemon.app` and the commands see it whole."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        use_attribute_docstrings=True,
    )

    node: str = Field("local", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Name of this daemon in topics."""
    state_dir: Path | None = None
    """Outbox and counters; None: `$XDG_STATE_HOME/attuned`."""
    analysis: AnalysisSection = AnalysisSection()
    models: ModelsSection = ModelsSection()
    gallery: GallerySection = GallerySection()
    fusion: FusionSection = FusionSection()
    changes: ChangesSection = ChangesSection()
    group: GroupSection = GroupSection()
    mqtt: MqttSection = MqttSection()
    outbox: OutboxSection = OutboxSection()
    http: HttpSection = HttpSection()
    metrics: MetricsSection = MetricsSection()
    log: LogSection = LogSection()
    sessions: tuple[SessionSection, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> Self:
        """Two sessions of one name would share their topics."""
        names = [session.name for session in self.sessions]
        if len(set(names)) < len(names):
            msg = f"sessions: names must differ, got {names}"
            raise ValueError(msg)
        return self


def load_settings(path: Path | None = None, *, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings from `path`, the environment and the command line.

    Args:
        path: A YAML file; None for the defaults and the environment alone.
        overrides: Nested values that win over everything else.

    Raises:
        ConfigError: Something is unusable; `mistakes` has a line for each, with file, line and key.
    """
    text = ""
    values: dict[str, Any] = {}
    if path is not None:
        text, values = _read(path)
    mistakes = [
        f"environment: {name}: no such setting; settings are {', '.join(Settings.model_fields)}"
        for name in sorted(os.environ)
        if name.startswith(ENVIRONMENT_PREFIX)
        and name not in NOT_SETTINGS
        and name.removeprefix(ENVIRONMENT_PREFIX).split("__")[0].lower() not in Settings.model_fields
    ]

    class Loaded(Settings):
        """`Settings` with this call's sources."""

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the overridden signature)
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Command line, environment, file."""
            command_line = InitSettingsSource(settings_cls, init_kwargs=dict(overrides or {}))
            return command_line, env_settings, InitSettingsSource(settings_cls, init_kwargs=values)

    try:
        settings = Loaded()
    except SettingsError as error:
        raise ConfigError(
            [*mistakes, f"environment: {error}; sections are set key by key: ATTUNED_MQTT__PORT"]
        ) from error
    except ValidationError as error:
        lines = _lines(text)
        for mistake in error.errors(include_url=False, include_input=False):
            where = tuple(mistake["loc"])
            message = mistake["msg"].removeprefix("Value error, ")
            if mistake["type"] == "extra_forbidden":
                message = "no such setting"
            mistakes.append(f"{_place(path, where, lines)}{'.'.join(map(str, where)) or 'settings'}: {message}")
        raise ConfigError(mistakes) from error
    if mistakes:
        raise ConfigError(mistakes)
    return settings


def find_config(working_folder: Path, config_home: Path) -> Path | None:
    """`./attuned.yaml` or `$XDG_CONFIG_HOME/attuned/attuned.yaml`, the first that is there."""
    candidates = (working_folder / "attuned.yaml", config_home / "attuned" / "attuned.yaml")
    for path in candidates:
        try:
            if path.is_file():
                return path
        except OSError:  # a home that may not be looked into has no configuration for us
            continue
    return None


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """Text and top-level mapping of a YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 text"]) from error
    try:
        values = yaml.safe_load(text)
        _lines(text)
    except RecursionError as error:
        raise ConfigError([f"{path}: is nested without end; write settings as `key: value`"]) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise ConfigError([f"{path}{line}: is not YAML: {getattr(error, 'problem', None) or error}"]) from error
    if values is None:
        return text, {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError([f"{path}:1: expected settings as `key: value`, got {type(values).__name__}"])
    return text, values


def _lines(text: str) -> dict[tuple[str | int, ...], int]:
    """Line of every key path in a YAML text, counted from 1."""
    lines: dict[tuple[str | int, ...], int] = {}

    def walk(node: yaml.Node | None, at: tuple[str | int, ...]) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                lines[(*at, key.value)] = key.start_mark.line + 1
                walk(value, (*at, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                lines[(*at, i)] = value.start_mark.line + 1
                walk(value, (*at, i))

    walk(yaml.compose(text, Loader=yaml.SafeLoader), ())
    return lines


def _place(path: Path | None, where: tuple[str | int, ...], lines: Mapping[tuple[str | int, ...], int]) -> str:
    """`file:line: ` of the deepest part of a key path that stands in the file; else where values come from."""
    for length in range(len(where), 0, -1):
        if where[:length] in lines:
            return f"{path}:{lines[where[:length]]}: "
    variable = ENVIRONMENT_PREFIX + "__".join(map(str, where)).upper()
    return f"environment: {variable}: " if variable in os.environ else ""
