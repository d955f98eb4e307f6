"""The settings of attuned: one frozen schema, read from YAML and the environment, every mistake told at once.

Precedence: what the command line gives, `ATTUNED_A__B` from the environment, the YAML file, the defaults here.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from config.engine import (
    ChangesSection,
    DenoiseSection,
    EngagementSection,
    FusionSection,
    GroupSection,
    LabelsSection,
    NoiseSection,
    PolarisationSection,
)
from config.errors import ConfigError
from config.privacy import ApiSection, AuditSection, PrivacySection
from config.sections import (
    AnalysisSection,
    GallerySection,
    HistorySection,
    HomeAssistantSection,
    HttpSection,
    LimitsSection,
    LogSection,
    LslSection,
    MetricsSection,
    ModelsSection,
    MqttSection,
    OutboxSection,
    PersonalSection,
    SessionSection,
    SourceSection,
    WebRtcSection,
)

ENVIRONMENT_PREFIX = "ATTUNED_"
NOT_SETTINGS = {"ATTUNED_DEV_DATA"}


class Settings(BaseSettings):
    """Everything that can be configured. Only `daemon.app`, `daemon.assembly` and the commands see it whole."""

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
    noise: NoiseSection = NoiseSection()
    denoise: DenoiseSection = DenoiseSection()
    group: GroupSection = GroupSection()
    polarisation: PolarisationSection = PolarisationSection()
    engagement: EngagementSection = EngagementSection()
    labels: LabelsSection = LabelsSection()
    personal: PersonalSection = PersonalSection()
    mqtt: MqttSection = MqttSection()
    outbox: OutboxSection = OutboxSection()
    history: HistorySection = HistorySection()
    home_assistant: HomeAssistantSection = HomeAssistantSection()
    lsl: LslSection = LslSection()
    http: HttpSection = HttpSection()
    api: ApiSection = ApiSection()
    privacy: PrivacySection = PrivacySection()
    audit: AuditSection = AuditSection()
    source: SourceSection = SourceSection()
    webrtc: WebRtcSection = WebRtcSection()
    limits: LimitsSection = LimitsSection()
    metrics: MetricsSection = MetricsSection()
    log: LogSection = LogSection()
    sessions: tuple[SessionSection, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> Self:
        """Two sessions of one name would share their topics."""
        if len(self.sessions) > self.limits.sessions:
            msg = f"sessions: {len(self.sessions)} are more than limits.sessions, {self.limits.sessions}; raise it"
            raise ValueError(msg)
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
    except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
        # What PyYAML raises for values that only look like a date, a number or a switch, such as 2026-13-45.
        raise ConfigError(
            [f"{path}: has a value that is not what it looks like ({error}); put it into quotes"]
        ) from error
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
