"""Settings → the parts that a daemon, an analysis or a benchmark is put together of."""

import ssl
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from prometheus_client import CollectorRegistry

from config.settings import Settings
from daemon.consent import ConsentGate
from daemon.inference import FaceReader, Watch
from daemon.seats import GalleryFollower, GallerySeating, RoomSeating, Seating
from daemon.session import Observer, Personal, Session, SessionInfo, Sink
from daemon.sinks.broker_link import tls_context
from daemon.sinks.home_assistant import HomeAssistant
from daemon.sinks.metrics import Metrics
from daemon.sources.file import Recording
from daemon.sources.source import Source
from daemon.version import attuned_version
from models.faces import MediaPipeFaceSpotter, MediaPipeFaceTracker
from models.loading import ExpressionModels, load_models
from pipeline.afterwards import AfterwardsSettings
from pipeline.call import CallSettings
from pipeline.changes import ChangeSettings
from pipeline.denoise import DenoiseSettings, TransientSettings
from pipeline.engagement import EngagementSettings
from pipeline.fusion import FusionSettings
from pipeline.gallery import GalleryHints, GallerySettings, GallerySplitter
from pipeline.group import GroupSettings
from pipeline.identity import TileIdentity
from pipeline.labelling import LabelSettings
from pipeline.polarisation import PolarisationSettings
from pipeline.synchrony import SynchronySettings
from pipeline.wire import Stamp, Topics, Versions


def session_info(
    settings: Settings,
    models: ExpressionModels,
    *,
    session: str,
    boot: str,
    seed: str,
    anchor: datetime,
    purpose: str,
) -> SessionInfo:
    """Who a session is, what reads in it, and what may be told of it."""
    privacy, minimum = settings.privacy, settings.group.minimum
    return SessionInfo(
        stamp=Stamp(session=session, boot=boot, anchor=anchor),
        seed=seed,
        purpose=purpose,
        versions=Versions(models.pixel.version, models.landmark.version),
        minimum=max(minimum, privacy.group_minimum) if privacy.group_only else minimum,
        basis=privacy.basis,
        group_only=privacy.group_only,
    )


def recording_info(
    settings: Settings,
    recording: Recording,
    models: ExpressionModels,
    *,
    purpose: str,
    anchor: datetime | None = None,
    seed: str | None = None,
) -> SessionInfo:
    """Who the analysis of a recording is: made from the recording, so that the same one gives the same bytes."""
    seed = seed or recording.fingerprint
    return session_info(
        settings,
        models,
        session=f"s-{recording.fingerprint[:8]}",
        boot=sha256(f"{recording.fingerprint}:{seed}".encode()).hexdigest()[:16],
        seed=seed,
        anchor=anchor or recording.anchor,
        purpose=purpose,
    )


def call_settings(settings: Settings, models: ExpressionModels) -> CallSettings:
    """What the pipeline needs of the settings."""
    return CallSettings(
        rate_hz=settings.analysis.rate_hz,
        grace_s=settings.analysis.grace_ms / 1000,
        fusion=FusionSettings(**settings.fusion.model_dump(exclude={"rule"})),
        denoise=DenoiseSettings(**settings.denoise.model_dump()),
        polarisation=PolarisationSettings(**settings.polarisation.model_dump()),
        afterwards=AfterwardsSettings(
            memory_s=settings.engagement.memory_s,
            transients=TransientSettings(**settings.noise.model_dump()),
            changes=ChangeSettings(**settings.changes.model_dump()),
            engagement=_engagement(settings),
            labels=LabelSettings(**settings.labels.model_dump()),
            group=GroupSettings(**settings.group.model_dump()),
        ),
        learned=models.weights,
    )


def _engagement(settings: Settings) -> EngagementSettings:
    """Constants of algorithm 8, with those of synchrony inside."""
    values = settings.engagement.model_dump()
    return EngagementSettings(**values | {"synchrony": SynchronySettings(**values["synchrony"])})


def make_session(
    settings: Settings,
    *,
    info: SessionInfo,
    models: ExpressionModels,
    source: Source,
    reader: FaceReader,
    sinks: Sequence[Sink],
    observe: Observer,
    consent: ConsentGate,
    paced: bool,
    personal: Personal | None = None,
) -> Session:
    """A session with these settings."""
    seating: Seating = RoomSeating()
    if not source.is_room:
        seating = GallerySeating(make_follower(settings, info.seed))
    return Session(
        info=info,
        source=source,
        seating=seating,
        reader=reader,
        sinks=sinks,
        observe=observe,
        consent=consent,
        call=call_settings(settings, models),
        paced=paced,
        personal=personal,
    )


def make_follower(settings: Settings, seed: str) -> GalleryFollower:
    """What splits a gallery and follows its people."""
    gallery = settings.gallery
    tiles = tuple((x, y, x + width, y + height) for x, y, width, height in (tile.rect for tile in gallery.tiles))
    return GalleryFollower(
        GallerySplitter(
            GallerySettings(**gallery.model_dump(exclude={"grid", "tiles", "find_faces"})),
            GalleryHints(gallery.grid, tiles),
        ),
        TileIdentity(seed, fixed={i: tile.participant for i, tile in enumerate(gallery.tiles) if tile.participant}),
        open_spotter=MediaPipeFaceSpotter if gallery.find_faces else None,
    )


def models_of(settings: Settings) -> ExpressionModels:
    """The expression models that are configured, and what weighs them.

    Raises:
        ModelError: One is missing, damaged, or not what the manifest or its description says.
    """
    return load_models(
        settings.models.pixel, settings.models.landmark, learned_weights=settings.fusion.rule == "learned"
    )


def make_metrics(settings: Settings, models: ExpressionModels, registry: CollectorRegistry) -> Metrics:
    """The metrics of this process."""
    return Metrics(
        registry=registry,
        version=attuned_version(),
        models={model.version: model.sha256 for model in (models.pixel, models.landmark)},
        group_emotion=settings.metrics.group_emotion,
    )


def make_reader(
    settings: Settings, models: ExpressionModels, observe: Observer, watch: Watch = lambda *_: None
) -> FaceReader:
    """A reader with its threads; `watch` is shown where the points of faces are."""
    return FaceReader(
        open_tracker=MediaPipeFaceTracker,
        pixel=models.pixel,
        landmark=models.landmark,
        workers=settings.analysis.workers,
        observe=observe.stage,
        watch=watch,
    )


def make_tls(settings: Settings) -> ssl.SSLContext | None:
    """How the broker is checked; None without TLS."""
    mqtt = settings.mqtt
    if not mqtt.tls:
        return None
    ca_file, cert_file, key_file = (
        None if file is None else file.expanduser() for file in (mqtt.ca_file, mqtt.cert_file, mqtt.key_file)
    )
    return tls_context(ca_file=ca_file, cert_file=cert_file, key_file=key_file, verify_host=mqtt.verify_host)


def make_home_assistant(settings: Settings, topics: Topics) -> HomeAssistant | None:
    """What Home Assistant is told; None where it is not asked for."""
    home = settings.home_assistant
    if not home.enabled:
        return None
    return HomeAssistant(topics, attuned_version(), home.prefix, home.sessions, home.remove_on_exit)
