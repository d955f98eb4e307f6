"""The sections of the settings: what can be set, within which bounds, and what it means."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyAddress,
    NonNegativeInt,
    PositiveInt,
    SecretStr,
    field_validator,
    model_validator,
)

from config.errors import ConfigError
from pipeline.call import DEFAULT_CALL
from pipeline.gallery import DEFAULT_GALLERY

Purpose = Literal["research", "healthcare", "safety", "personal", "demo"]
Consent = Literal["required", "declared"]
REFUSED_PURPOSES = {
    "workplace": "inferring emotions of people at work is prohibited in the EU (AI Act, Art. 5(1)(f))",
    "education": "inferring emotions of people in education is prohibited in the EU (AI Act, Art. 5(1)(f))",
}
SESSION_NAME = r"^[A-Za-z0-9_.-]{1,64}$"
ADDRESS = r"^[^\x00-\x1f\x7f]{1,4096}$"
PSEUDONYM = r"^p-[0-9a-f]{8}$"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Section(BaseModel):
    """What all sections share: nothing unknown, nothing that changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class AnalysisSection(Section):
    """How often and with how many threads faces are read."""

    rate_hz: float = Field(DEFAULT_CALL.rate_hz, gt=0, le=30)
    """Frames of each participant that are read per second."""
    grace_ms: int = Field(200, ge=0, le=5000)
    """How long after its end a second still takes readings."""
    workers: int = Field(2, ge=1, le=64)
    """Threads that find faces."""


class ModelsSection(Section):
    """Which expression models read the faces: names that `attuned models list` shows."""

    pixel: str = Field("pixel", min_length=1)
    """Or the path of a YAML description of another one, relative to the working folder."""
    landmark: str = Field("landmark", min_length=1)


class GalleryTile(Section):
    """A rectangle of a gallery that is known beforehand."""

    rect: tuple[NonNegativeInt, NonNegativeInt, PositiveInt, PositiveInt]
    """x, y, width, height in pixels of the picture."""
    participant: str | None = Field(None, pattern=PSEUDONYM)
    """Who always sits there."""


class GallerySection(Section):
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
    find_faces: bool = True
    """Whether a face detector looks at the whole picture, at everybody in it, to tell a shared screen from a person and
    two people in a tile. It says where a face is and nothing else. False: no model looks at anybody who did not agree;
    then two in one tile are one participant, and a shared screen may be taken for one."""
    grid: tuple[PositiveInt, PositiveInt] | None = None
    """Columns and rows of equal tiles that fill the picture; wins over detection."""
    tiles: tuple[GalleryTile, ...] = ()
    """Known rectangles; they win over detection and over `grid`."""

    @model_validator(mode="after")
    def _one_seat_each(self) -> Self:
        """Nobody sits in two places."""
        seated = [tile.participant for tile in self.tiles if tile.participant]
        if len(set(seated)) < len(seated):
            msg = f"tiles: every participant has one tile, got {seated}"
            raise ValueError(msg)
        return self


class MqttSection(Section):
    """Where readings are published."""

    broker: Literal["embedded", "external"] = "embedded"
    """`embedded` starts a broker inside the process, bound to `host`; `external` connects to one."""
    host: str = Field("127.0.0.1", pattern=r"^[^\s\x00]+$")
    port: int = Field(1883, ge=1, le=65535)
    root: str = Field("attuned", pattern=r"^[^/+#\s]+$")
    """First level of every topic."""
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    """A file that holds it."""
    keepalive_s: int = Field(30, ge=5, le=3600)
    expiry_s: int = Field(10, ge=1, le=86_400)
    """MQTT 5: how long the broker keeps a reading for somebody who is away."""
    tls: bool = False
    """Whether the connection is encrypted and the broker's certificate checked."""
    ca_file: Path | None = None
    """Certificates to check it against; None: the system's."""
    cert_file: Path | None = None
    """Our own certificate, for brokers that ask."""
    key_file: Path | None = None
    """Its key, without a password; None: it is in `cert_file`."""
    verify_host: bool = True
    """Whether the certificate must be for `host`."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Settings that say nothing without another would be silently without effect."""
        files = {"ca_file": self.ca_file, "cert_file": self.cert_file, "key_file": self.key_file}
        given = [name for name, file in files.items() if file is not None]
        if not self.tls and (given or not self.verify_host):
            msg = f"{', '.join(given) or 'verify_host'}: set mqtt.tls too"
            raise ValueError(msg)
        if self.key_file is not None and self.cert_file is None:
            msg = f"key_file {self.key_file}: is the key of no certificate; set mqtt.cert_file too"
            raise ValueError(msg)
        if self.broker == "embedded" and self.tls:
            msg = "tls: the embedded broker has none; set broker: external"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _embedded_stays_home(self) -> Self:
        """The embedded broker asks nobody who they are."""
        if self.broker == "embedded" and self.host not in LOOPBACK:
            msg = f"host {self.host}: the embedded broker is for this machine alone; set broker: external, or no host"
            raise ValueError(msg)
        return self


class OutboxSection(Section):
    """Events that wait for the broker, on disk."""

    max_messages: int = Field(100_000, ge=1)
    """Events; the oldest are discarded beyond this, counted and announced."""
    max_mb: int = Field(256, ge=1, le=1_000_000)
    """Events and readings together."""
    max_age_s: int = Field(604_800, ge=1)
    """What waits for longer is discarded, counted and announced."""
    readings: Literal["drop", "keep"] = "drop"
    """What becomes of readings while there is no broker. `keep` sends them at QoS 1, and afterwards those that waited."""
    max_readings: int = Field(36_000, ge=1)
    """Readings that are kept; the oldest are discarded and counted beyond this."""


class HistorySection(Section):
    """What was read, kept on disk to be looked up; readings of people, so nothing is kept unless it is switched on."""

    enabled: bool = False
    """Whether seconds, group and events are kept in the state folder, for `attuned export`."""
    days: float = Field(30.0, gt=0, le=3650)
    """What was written longer ago is erased."""
    max_mb: int = Field(1024, ge=4, le=1_000_000)
    """The oldest is erased beyond this."""


class HomeAssistantSection(Section):
    """A device in Home Assistant, by its MQTT discovery."""

    enabled: bool = False
    prefix: str = Field("homeassistant", pattern=r"^[^+#\s]+$")
    """Where Home Assistant looks for discovery."""
    sessions: tuple[Annotated[str, Field(pattern=SESSION_NAME)], ...] = ()
    """Sessions that get sensors of their own; none named: one set shows whichever session runs."""
    remove_on_exit: bool = False
    """Whether the device goes when attuned ends. It goes in any case when this is switched off again."""


class LslSection(Section):
    """Streams of the Lab Streaming Layer; it asks nobody who they are, so nothing is streamed unless it is switched on."""

    enabled: bool = False
    scope: Literal["machine", "link", "site"] = "machine"
    """How far streams make themselves known. It does not keep away who knows the machine's address; a firewall does."""


class HttpSection(Section):
    """Health, metrics, the sessions API and the WHIP endpoint."""

    host: str = Field("127.0.0.1", pattern=r"^[^\s\x00]+$")
    """Beyond loopback a token is required for anything but health."""
    port: int = Field(8765, ge=1, le=65535)
    token: SecretStr | None = None
    """Bearer token of the API and of WHIP."""
    token_file: Path | None = None
    """A file that holds it."""
    origins: tuple[Annotated[str, Field(pattern=r"^https?://[^/\s*]+$")], ...] = ()
    """Pages of other origins that may push by WHIP from a browser (CORS), such as https://studio.example; none."""

    @field_validator("token")
    @classmethod
    def _is_one(cls, value: SecretStr | None) -> SecretStr | None:
        """A variable that is set to nothing is no token."""
        word = None if value is None else value.get_secret_value()
        if word is not None and (not word or word != word.strip()):
            msg = "is empty, or has blanks around it; set a token, or leave the setting out"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        """Nobody else may start sessions or push pictures."""
        if self.host not in LOOPBACK and self.token is None and self.token_file is None:
            msg = f"host {self.host}: is not loopback; set http.token or http.token_file too"
            raise ValueError(msg)
        return self


class SourceSection(Section):
    """How live sources are reached; a session can have its own. Secrets are better in files or the environment."""

    username: str | None = None
    """RTSP."""
    password: SecretStr | None = None
    password_file: Path | None = None
    token: SecretStr | None = None
    """Bearer token of WHEP, or token of Janus."""
    token_file: Path | None = None
    pin: SecretStr | None = None
    """Of a Janus room."""
    pin_file: Path | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    """RTSP."""
    verify: bool = True
    """Whether the certificate of an rtsps server is checked."""
    ca_file: Path | None = None
    """Certificates to check it against; None: the system's."""
    open_timeout_s: float = Field(5.0, gt=0, le=60)
    stall_s: float = Field(10.0, gt=0, le=300)
    """A source that shows no picture for so long is lost and sought again; rooms may be empty for longer."""
    give_up_s: float = Field(15.0, gt=0, le=3600)
    """`join` and the API: a source that was never reached for so long is given up. `run` tries on."""
    display: str = Field("attuned (reads expressions)", min_length=1, max_length=100)
    """The name by which everybody in a room sees the bot: it says what it is."""
    substream: int = Field(1, ge=0, le=2)
    """Which of the qualities of a simulcast a room is asked for: 0 the smallest."""


class WebRtcSection(Section):
    """Which ways WebRTC may take."""

    addresses: tuple[IPvAnyAddress, ...] = ()
    """Local addresses that ICE may use; none named: all but loopback."""
    stun: str | None = Field(None, pattern=r"^stun:[^\s]+$")
    turn: str | None = Field(None, pattern=r"^turns?:[^\s]+$")
    turn_username: str | None = None
    turn_password: SecretStr | None = None
    turn_password_file: Path | None = None


class LimitsSection(Section):
    """What the API can ask for at most."""

    sessions: int = Field(8, ge=1, le=1000)
    """Sessions at a time."""
    ended: int = Field(100, ge=0, le=10_000)
    """Sessions that have ended and are still told of; the oldest are forgotten."""


def secret(value: SecretStr | None, file: Path | None) -> str | None:
    """The secret itself: as it is set, else the first line of its file.

    Raises:
        ConfigError: The file cannot be read, or is empty.
    """
    if value is not None or file is None:
        return None if value is None else value.get_secret_value()
    try:
        lines = file.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file}: the secret in it cannot be read: {error}"]) from error
    if not lines or not lines[0].strip():
        raise ConfigError([f"{file}: is empty; its first line is the secret"])
    return lines[0].strip()


class MetricsSection(Section):
    """What Prometheus sees."""

    group_emotion: bool = True
    """Group emotion per session, from three members on; individuals never."""


class TriggerSection(Section):
    """When a training is worth it; `models.personal.trigger.TriggerSettings` says more."""

    n_samples: int = Field(240, ge=1)
    n_classes: int = Field(3, ge=2, le=7)
    n_of_class: int = Field(20, ge=1)
    n_new: int = Field(120, ge=1)
    new_share: float = Field(0.25, ge=0, le=1)
    n_blocks: int = Field(44, ge=2)
    human_samples: int = Field(30, ge=1)
    human_of_class: int = Field(3, ge=1)
    human_new: int = Field(4, ge=1)
    human_new_share: float = Field(0.1, ge=0, le=1)
    human_blocks: int = Field(12, ge=2)


class GateSection(Section):
    """What a personal head must show before it serves; `models.personal.gate.GateSettings` says more."""

    block_s: float = Field(10.0, gt=0, le=600)
    n_blocks: int = Field(20, ge=5)
    later_share: float = Field(0.5, gt=0, le=0.5)
    gap_s: float = Field(10.0, ge=1)
    n_of_class: int = Field(10, ge=2)
    level: float = Field(0.9, ge=0.5, lt=1)
    n_resamples: int = Field(1000, ge=100, le=100_000)
    n_bins: int = Field(5, ge=1, le=100)
    ece_tolerance: float = Field(0.02, ge=0, le=1)
    confident: float = Field(0.9, ge=0, le=1)
    max_flipped: float = Field(0.05, ge=0, le=1)
    confirming_runs: int = Field(5, ge=2)
    noise: float = Field(0.15, ge=0, le=0.9)
    human_blocks: int = Field(5, ge=5)
    human_share: float = Field(0.5, gt=0, le=0.5)
    human_gap_s: float = Field(2.0, ge=1)
    human_of_class: int = Field(2, ge=2)
    human_ece_tolerance: float = Field(0.1, ge=0, le=1)
    human_origins: int = Field(8, ge=1, le=100)
    n_components: int = Field(5, ge=1, le=50)
    min_silhouette: float = Field(0.1, ge=-1, le=1)
    pooled_share: float = Field(0.5, ge=0, le=1)


class MonitorSection(Section):
    """When a head that serves is taken back; `models.personal.monitor.MonitorSettings` says more."""

    block_s: float = Field(10.0, gt=0, le=600)
    limit: float = Field(2.0, gt=0)
    patience: float = Field(1000.0, gt=1)
    human_weight: float = Field(3.0, ge=1)


class PersonalSection(Section):
    """Personal heads: what is kept of whom, when they are trained, and within which limits."""

    enabled: bool = True
    learner: Literal["offset", "head", "mlp", "random-forest", "knn"] = "head"
    max_samples: int = Field(2000, ge=1, le=100_000)
    """Of each participant; over it, the most redundant of the largest class go."""
    keep_days: float = Field(180.0, gt=0)
    """Older samples are erased."""
    keep_crops: bool = False
    """Whether pictures of faces are kept beside the samples, encrypted."""
    crop_days: float = Field(7.0, gt=0)
    max_versions: int = Field(5, ge=1, le=1000)
    """Heads of each participant that are kept."""
    memory_mb: int = Field(1024, ge=256)
    """Limits of the process that trains."""
    cpu_s: int = Field(120, ge=1)
    wall_s: float = Field(300.0, gt=0)
    erase_on_denial: bool = True
    """Whether who denies consent is erased at once; else what was gathered before stays until it is too old."""
    busy_p95_s: float = Field(0.5, gt=0)
    """Nothing is trained while readings are later than this after their second, at the 95th percentile."""
    busy_load: float = Field(1.5, gt=0)
    """Or while so many processes per core want to run."""
    trigger: TriggerSection = TriggerSection()
    gate: GateSection = GateSection()
    monitor: MonitorSection = MonitorSection()

    @model_validator(mode="after")
    def _can_be_judged(self) -> Self:
        """A buffer that can never fill up, or a training that nobody can judge, would wait for ever."""
        if self.trigger.n_samples > self.max_samples:
            msg = f"trigger.n_samples {self.trigger.n_samples} is more than max_samples {self.max_samples}"
            raise ValueError(msg)
        if self.trigger.n_blocks < 2 * self.gate.n_blocks:
            msg = f"trigger.n_blocks {self.trigger.n_blocks} is less than twice gate.n_blocks, {self.gate.n_blocks}"
            raise ValueError(msg)
        if self.trigger.human_blocks < 2 * self.gate.human_blocks:
            found = f"trigger.human_blocks {self.trigger.human_blocks}"
            msg = f"{found} is less than twice gate.human_blocks, {self.gate.human_blocks}"
            raise ValueError(msg)
        return self


class LogSection(Section):
    """Logs go to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"
    """`auto`: text in a terminal, JSON elsewhere."""


class SessionSection(Section):
    """One call."""

    name: str = Field(pattern=SESSION_NAME)
    """Stands in topics and metrics: no person's name."""
    url: str = Field(pattern=ADDRESS, repr=False)
    purpose: Purpose
    consent: Consent | None = None
    """None: `required` for live calls, `declared` for recordings."""
    granted: tuple[Annotated[str, Field(pattern=PSEUDONYM)], ...] = ()
    """Participants who agreed to be read, where the room or the configuration makes their pseudonyms last."""
    denied: tuple[Annotated[str, Field(pattern=PSEUDONYM)], ...] = ()
    """Participants who are never to be read, whatever the others agreed to."""
    source: SourceSection | None = None
    """None: as in `source`."""
    participants: Mapping[str, Annotated[str, Field(pattern=PSEUDONYM)]] = Field(default_factory=dict)
    """Names in the room, and the pseudonyms by which these people are to be known; names never leave the machine."""

    @model_validator(mode="after")
    def _one_answer_each(self) -> Self:
        """Nobody agrees and refuses."""
        both = sorted({*self.granted} & {*self.denied})
        if both:
            msg = f"granted and denied: {', '.join(both)} cannot be in both"
            raise ValueError(msg)
        return self

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
