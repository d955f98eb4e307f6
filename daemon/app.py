"""The composition root: builds everything from the settings, runs it in one task group, takes it down again."""

import asyncio
import signal
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, Self

import structlog
from aiomqtt import ProtocolVersion
from prometheus_client import CollectorRegistry

from config.sections import LOOPBACK, secret
from config.settings import Settings
from daemon.api import SessionsApi
from daemon.assembly import (
    make_home_assistant,
    make_metrics,
    make_reader,
    make_session,
    make_tls,
    models_of,
    session_info,
)
from daemon.asyncapi import asyncapi_yaml
from daemon.audit import AuditLog
from daemon.broker import PROTOCOL, embedded_broker
from daemon.clock import utc_s
from daemon.consent import Answers
from daemon.corrections import Correction
from daemon.custody import Custody
from daemon.erasure import Eraser
from daemon.errors import FailedError
from daemon.http import make_app, serve
from daemon.inference import Watch
from daemon.logs import configure_logs
from daemon.memory import light_collections, steady_memory
from daemon.page.live import LivePage
from daemon.personal import Personalisation
from daemon.personal_session import PersonalSession
from daemon.personal_setup import make_personal
from daemon.secret import node_secret
from daemon.security import Guard, RateLimit
from daemon.service import Service
from daemon.session import Session, Sink
from daemon.sessions import Entry, Plan, Sessions, plan_of
from daemon.sinks.history import FILE as HISTORY_FILE
from daemon.sinks.history import History
from daemon.sinks.lsl import Lsl
from daemon.sinks.mqtt import MqttSink
from daemon.sinks.outbox import Outbox
from daemon.sources.file import FileSource
from daemon.sources.live import Connection, LiveSource
from daemon.sources.opening import connection_to, ice_settings, open_recording
from daemon.sources.source import Source
from daemon.sources.urls import Kind, kind_of
from daemon.sources.whip import WhipConnection, WhipEndpoint
from daemon.state import locked, state_folder
from daemon.state_files import check_state, finish_restoring
from daemon.version import attuned_version
from models.errors import ModelError
from pipeline.emotions import F32
from pipeline.wire import EPOCH, Topics

log = structlog.get_logger()

CONNECT_S = 5.0
DRAIN_S = 4.0
DRAIN_STOPPED_S = 1.0
"""Whoever stops attuned waits 5 s at most; what the broker has not taken by then is on disk."""
ANSWERS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Ready:
    """Where everything is, once it runs."""

    broker: str
    http: str
    topics: Topics


def _unwatched(session: str, time_s: float, participants: Sequence[str], meshes: F32) -> None:
    """Nobody is shown where faces are."""


class Node:
    """A running attuned: HTTP, broker, models and sessions; `async with Node(settings) as node: await node.run(…)`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Consent that arrived for sessions before they began, such as retained messages.
        self._answers = Answers(ANSWERS_MAX)
        self._purposes: set[str] = set()
        self._stack = AsyncExitStack()
        self.stop = asyncio.Event()

    async def __aenter__(self) -> Self:
        steady_memory()
        async with AsyncExitStack() as stack:
            settings = self._settings
            folder = state_folder(settings)
            stack.enter_context(locked(folder))
            if finish_restoring(folder):
                log.info("a state that was being restored is in its place", folder=str(folder))
            check_state(folder)
            self._secret = node_secret(folder)
            self._custody = await stack.enter_async_context(Custody(settings, folder, self._secret))
            self._models = models_of(settings)
            self._page = LivePage()
            registry = CollectorRegistry()
            self._metrics = make_metrics(settings, self._models, registry)
            host = f"[{settings.http.host}]" if ":" in settings.http.host else settings.http.host
            mqtt, port = settings.mqtt, settings.mqtt.port
            if mqtt.broker == "embedded":
                port = await stack.enter_async_context(embedded_broker(mqtt.host, mqtt.port))
                if port != mqtt.port:
                    log.warning("mqtt.port is taken, the embedded broker has the next free one", port=port)
            self._outbox = await stack.enter_async_context(
                Outbox(
                    folder / "outbox.sqlite",
                    max_messages=settings.outbox.max_messages,
                    max_readings=settings.outbox.max_readings,
                    max_bytes=settings.outbox.max_mb * 2**20,
                    max_age_s=settings.outbox.max_age_s,
                    now=utc_s,
                )
            )
            self._history: History | None = None
            self._also: list[Sink] = []
            if settings.history.enabled:
                path, bounds = folder / HISTORY_FILE, settings.history
                history = History(path, days=bounds.days, max_bytes=bounds.max_mb * 2**20, now=utc_s)
                self._history = await stack.enter_async_context(history)
                self._also.append(history)
            if settings.lsl.enabled:
                lsl = Lsl(node=settings.node, scope=settings.lsl.scope)
                self._also.append(await stack.enter_async_context(lsl))
            # Where only the group is told, a face's outline is no more for others than its reading.
            watch: Watch = _unwatched if settings.privacy.group_only else self._page.watch
            self._reader = await stack.enter_async_context(make_reader(settings, self._models, self._metrics, watch))
            self._personal = await self._personalisation(stack, folder / "personal")
            topics = Topics(settings.node, mqtt.root)
            self._mqtt = MqttSink(
                host=mqtt.host,
                port=port,
                topics=topics,
                outbox=self._outbox,
                metrics=self._metrics,
                on_consent=partial(self._on_consent, "mqtt"),
                on_label=self._on_label_message,
                username=mqtt.username,
                password=secret(mqtt.password, mqtt.password_file),
                tls=make_tls(settings),
                keepalive_s=mqtt.keepalive_s,
                expiry_s=mqtt.expiry_s,
                keep_readings=settings.outbox.readings == "keep",
                home_assistant=make_home_assistant(settings, topics),
                protocol=PROTOCOL if mqtt.broker == "embedded" else ProtocolVersion.V5,
            )
            limits = settings.limits
            self.sessions = Sessions(self._play, limit=limits.sessions, keep=limits.ended, on_forget=self._mqtt.forget)
            self._metrics.count_sessions(lambda state: sum(entry.state == state for entry in self.entries))
            token = secret(settings.http.token, settings.http.token_file)
            ice, origins = ice_settings(settings.webrtc), settings.http.origins
            self._whip = WhipEndpoint(token=token, limit=limits.sessions, ice=ice, origins=origins)
            self._custody.bind(partial(self._eraser, folder))
            api = self._api = SessionsApi(
                self.sessions,
                source=settings.source,
                answer=partial(self._on_consent, "api"),
                label=self._on_label,
                forget=self._forget,
                guard=Guard.of(settings.api, settings.http.host),
            )
            app = make_app(
                registry,
                self._missing,
                routes=[*api.routes(), *self._whip.routes(), *self._page.routes()],
                free=self._page.free,
                asyncapi=asyncapi_yaml(topics, broker=f"{mqtt.host}:{port}"),
                token=token,
                is_open=settings.http.host in LOOPBACK,
                limit=RateLimit(rate_per_s=settings.api.rate_per_s, burst=settings.api.burst),
                on_access=self._custody.on_access,
            )
            await stack.enter_async_context(serve(app, settings.http.host, settings.http.port))
            # Before the server ends, which waits for all who still listen.
            stack.callback(self._page.close)
            self.ready = Ready(f"{mqtt.host}:{port}", f"http://{host}:{settings.http.port}", topics)
            stack.enter_context(light_collections())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @property
    def settings(self) -> Settings:
        """Those it runs by."""
        return self._settings

    @property
    def entries(self) -> Collection[Entry]:
        """Its sessions, those that are over included."""
        return self.sessions.entries.values()

    async def apply(self, settings: Settings) -> None:
        """Runs by other settings from now on; `daemon.reload` says which may differ."""
        old, self._settings = self._settings, settings
        if settings.log != old.log:
            configure_logs(level=settings.log.level, style=settings.log.format)
        self.sessions.limit, self.sessions.keep = settings.limits.sessions, settings.limits.ended
        self._api.source = settings.source
        before = [plan_of(session, old.source) for session in old.sessions if session not in settings.sessions]
        after = [plan_of(session, settings.source) for session in settings.sessions if session not in old.sessions]
        await self.sessions.replace(before, after)
        self._mqtt.describe(self._describe())

    async def run(self, plans: Sequence[Plan], *, stay: bool, service: Service | None = None) -> None:
        """Runs the sessions, until all have ended, or until `stop` when it is to stay; `service` attends it meanwhile.

        Raises:
            SourceError: A session's source cannot be opened; when it is to stay this is logged instead.
            PublishError: The broker refuses; when it is not to stay also: was never there.
            FailedError: A session failed, or events could not be delivered; they stay in the outbox.
        """
        self._purposes.update(plan.purpose for plan in plans)
        self._mqtt.describe(self._describe())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop.set)
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._mqtt.run(give_up_s=None if stay else CONNECT_S), name="mqtt")
                # A session whose first readings nobody can get is worth a wait; the daemon waits for nobody long.
                await self._connected(tasks, sending, timeout_s=CONNECT_S if stay else None)
                keeping = self._custody.run(personal=self._personal, history=self._history, outbox=self._outbox)
                beside = [tasks.create_task(keeping, name="retention")]
                if self._personal is not None:
                    beside.append(tasks.create_task(self._personal.run(), name="personal training"))
                if service is not None:
                    beside.append(tasks.create_task(service.attend(self), name="service"))
                try:
                    await self.sessions.run(plans, stay=stay, stop=self.stop)
                finally:
                    if service is not None:
                        service.leave()
                    for task in beside:
                        task.cancel()
                    # Also where a cancellation gets lost on its way through the client, as can happen on Python 3.11.
                    self._mqtt.close()
                await asyncio.wait([sending], timeout=DRAIN_STOPPED_S if self.stop.is_set() else DRAIN_S)
                sending.cancel()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        if self._outbox.n_waiting:
            msg = f"{self._outbox.n_waiting} events are not delivered; they wait in {state_folder(self._settings)}"
            if not self.stop.is_set():
                raise FailedError(msg)
            log.warning(msg)
        failed = [f"session {e.plan.id}: {e.reason}" for e in self.sessions.entries.values() if e.state == "failed"]
        if failed and not stay:
            raise FailedError("; ".join(failed))

    async def _connected(self, tasks: asyncio.TaskGroup, sending: asyncio.Task[None], timeout_s: float | None) -> None:
        """Returns when the broker is there, or sending has ended, or it is time to stop, or that long has passed."""
        waits = [
            tasks.create_task(self._mqtt.connected.wait(), name="mqtt connected"),
            tasks.create_task(self.stop.wait(), name="stop while connecting"),
        ]
        await asyncio.wait([*waits, sending], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _play(self, entry: Entry) -> None:
        """Opens the source of a session and runs it."""
        plan, settings, kind = entry.plan, self._settings, kind_of(entry.plan.url)
        async with AsyncExitStack() as stack:
            source: Source
            seed, anchor = token_hex(8), EPOCH
            if kind == "file":
                recording = await asyncio.to_thread(open_recording, plan.url)
                seed, anchor = recording.fingerprint, plan.anchor or recording.anchor
                source = FileSource(recording, rate_hz=settings.analysis.rate_hz, paced=True)
            else:
                connection = self._connection(plan, kind, stack)
                source = LiveSource(
                    connection,
                    rate_hz=settings.analysis.rate_hz,
                    give_up_s=plan.give_up_s,
                    on_reconnect=partial(self._metrics.reconnect, connection.component),
                )
            await stack.enter_async_context(source)
            info = session_info(
                settings,
                self._models,
                session=plan.id,
                boot=token_hex(8),
                seed=seed,
                anchor=anchor,
                purpose=plan.purpose,
            )
            if self._personal is not None:
                self._reader.personalise(info.id, crops=settings.personal.keep_crops)
                entry.personal = await stack.enter_async_context(
                    PersonalSession(
                        self._personal,
                        info=info,
                        is_stable=self._known_again(plan, source),
                        set_head=partial(self._reader.set_head, info.id),
                    )
                )
            session = make_session(
                settings,
                info=info,
                models=self._models,
                source=source,
                reader=self._reader,
                sinks=(self._mqtt, self._metrics, self._page, self._custody, *self._also, *plan.sinks),
                observe=self._metrics,
                consent=self._custody.gate(plan, self._answers.take(plan.id), ask=self._answers.is_full),
                paced=True,
                personal=entry.personal,
            )
            entry.session = session
            self._mqtt.describe(self._describe())
            log.info("session started", session=plan.id, purpose=plan.purpose)
            await session.run()
            log.info("session ended", session=plan.id, reason=session.reason)
            if isinstance(source, FileSource) and source.tally.n_out_of_order:
                self._metrics.frames_dropped("out_of_order", source.tally.n_out_of_order)

    def _connection(self, plan: Plan, kind: Kind, stack: AsyncExitStack) -> Connection:
        """The way to a live call."""
        if kind != "whip":
            return connection_to(plan, self._settings.webrtc, node_secret=self._secret)
        connection = WhipConnection(ice=ice_settings(self._settings.webrtc), stall_s=plan.source.stall_s)
        self._whip.register(plan.id, connection)
        stack.callback(self._whip.unregister, plan.id)
        return connection

    async def _on_consent(self, via: str, session: str, participant: str, granted: bool) -> None:  # noqa: FBT001 (a callback)
        """A `consent/set` message, or the API's, `via` which it came; reading ends before anything else is done."""
        log.info("consent", session=session, participant=participant, granted=granted)
        entry = self.sessions.entries.get(session)
        runs = entry is not None and entry.session is not None and not entry.is_over
        was_full = self._answers.is_full
        self._answers.note(session, participant, granted=granted, for_next=not runs)
        if self._answers.is_full and not was_full:
            log.warning("too many answers to keep: from now on sessions ask everybody")
        if entry is not None and entry.session is not None and runs:
            await entry.session.set_consent(participant, granted=granted)
            if entry.personal is not None:
                (entry.personal.allow if granted else entry.personal.deny)(participant)
        await self._custody.consent(session, participant, granted=granted, via=via)
        if not granted and self._settings.personal.erase_on_denial:
            await self._custody.erase(participant, who=via, keep_link=True)

    async def _personalisation(self, stack: AsyncExitStack, folder: Path) -> Personalisation | None:
        """Personal heads, where they are wanted and the models have heads."""
        if not self._settings.personal.enabled or self._settings.privacy.group_only:
            return None
        try:
            personal = make_personal(self._settings, self._models, folder, self._metrics)
        except ModelError as error:
            log.warning("no personal heads with these models", detail=str(error))
            return None
        return await stack.enter_async_context(personal)

    def _known_again(self, plan: Plan, source: Source) -> Callable[[str], bool]:
        """Whose pseudonym means the same person in the next session: a room's, or a configured one."""
        tiles = {tile.participant for tile in self._settings.gallery.tiles}
        configured = tiles | set(plan.participants.values())
        return lambda participant: source.is_room or participant in configured

    async def _on_label(self, session: str, participant: str, correction: Correction) -> int:
        """The API's correction, or that of a message."""
        entry = self.sessions.entries.get(session)
        if entry is None or entry.personal is None or entry.is_over:
            msg = f"session {session} does not run, or without personal heads"
            raise ValueError(msg)
        return await entry.personal.label(participant, correction)

    async def _on_label_message(self, session: str, participant: str, text: str) -> None:
        """A `label/set` message."""
        try:
            await self._on_label(session, participant, Correction.parse(text))
        except (ValueError, OSError):
            # What was sent is not repeated: it might be anything.
            expected = "an emotion, or JSON with emotion, from and to, of somebody who was read"
            log.warning("label message refused", session=session, expected=expected)

    async def _forget(self, participant: str) -> dict[str, Any]:
        """Erases a person, and says what came of it.

        Raises:
            FailedError: Something cannot be erased.
            ValueError: That is no pseudonym.
        """
        return (await self._custody.erase(participant, who="api")).told()

    def _eraser(self, folder: Path, audit: AuditLog) -> Eraser:
        """What erases people from all that is here."""

        def running() -> list[Session]:
            return [entry.session for entry in self.sessions.entries.values() if entry.session is not None]

        return Eraser(
            folder,
            personal=self._personal,
            history=self._history,
            outbox=self._outbox,
            mqtt=self._mqtt,
            page=self._page,
            sessions=running,
            audit=audit,
        )

    def _missing(self) -> list[str]:
        """What `/readyz` waits for."""
        missing = [] if self._mqtt.connected.is_set() else ["mqtt"]
        return [*missing, "state_dir"] if self._outbox.is_refused else missing

    def _describe(self) -> dict[str, object]:
        """What the node says of itself: also why people are read, and on what grounds."""
        self._purposes.update(entry.plan.purpose for entry in self.sessions.entries.values())
        return {
            "node": self._settings.node,
            "version": attuned_version(),
            "models": {
                arm: {"version": model.version, "sha256": model.sha256}
                for arm, model in (("pixel", self._models.pixel), ("landmark", self._models.landmark))
            },
            "purposes": sorted(self._purposes),
            "basis": self._settings.privacy.basis,
            "group_only": self._settings.privacy.group_only,
        }
