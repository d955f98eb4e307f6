"""The live page: keeps the last minutes of every session, and streams what comes as server-sent events.

The page's files are free for whoever reaches the server: they hold nothing of anybody. The stream is guarded like the
API. A page reads it with `fetch`, so that it can send the bearer token in a header: there is no cookie, hence nothing
that a page of somebody else's could make a browser send along.
"""

import asyncio
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from aiohttp import web

from daemon.page.files import PLOTLY_PATH, Assets
from daemon.session import SessionInfo
from daemon.sources.source import State
from pipeline import wire
from pipeline.emotions import F32
from pipeline.landmarks import points_68
from pipeline.types import CallSecond, Event

STREAM: Final = "/page/stream"
CLIENTS_MAX: Final = 8
QUEUE_MAX: Final = 256
SESSIONS_MAX: Final = 32
RIBBON_S: Final = 300
EVENTS_MAX: Final = 100
BEAT_S: Final = 5.0
WRITE_S: Final = 10.0
"""A page that takes nothing for so long is let go."""
FACES_EVERY_S: Final = 0.19
"""Faces of a session go out five times a second at most; a fifth of a second less what times are rounded by."""
OUTLINE_UNIT: Final = 100


def outlines(meshes: F32) -> list[list[int]]:
    """The 68 iBUG points of (n, 468, 3) meshes as x, y, x, y, …: 136 integers a face.

    Relative to the mean point, in hundredths of the root mean square distance from it: neither where a face is in the
    picture nor how large it is can be told.

    Raises:
        ValueError: The meshes are of another shape.
    """
    points = points_68(meshes).astype(np.float64)
    points -= points.mean(axis=1, keepdims=True)
    size = np.sqrt((points**2).sum(axis=2).mean(axis=1)).clip(1e-9)[:, None, None]
    drawn = np.rint(points * (OUTLINE_UNIT / size)).astype(int).reshape(len(points), -1)
    return [[int(value) for value in face] for face in drawn]


def message(kind: str, data: Mapping[str, Any]) -> bytes:
    """One server-sent event; its data are one line of JSON."""
    return f"event: {kind}\ndata: ".encode() + wire.encode(data) + b"\n\n"


class Client:
    """What one page still has to get: the oldest gives way, and of faces there is only ever the newest."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._faces: dict[str, bytes] = {}
        self._filled = asyncio.Event()
        self._is_closed = False
        self.n_dropped = 0
        """Messages and pictures of faces that were displaced by newer ones."""

    def put(self, data: bytes) -> None:
        """Waits its turn."""
        if len(self._waiting) == QUEUE_MAX:
            self._waiting.popleft()
            self.n_dropped += 1
        self._waiting.append(data)
        self._filled.set()

    def put_faces(self, session: str, data: bytes) -> None:
        """Displaces the faces of the same session that were not sent yet."""
        self.n_dropped += session in self._faces
        self._faces[session] = data
        self._filled.set()

    def forget(self, anew: bytes) -> None:
        """What waits holds somebody who was erased: instead of it everything is told anew."""
        self._waiting.clear()
        self._faces.clear()
        self.put(anew)

    def close(self) -> None:
        """Nothing more will come."""
        self._is_closed = True
        self._filled.set()

    async def get(self) -> bytes | None:
        """Everything that waits, as soon as there is something; None when it is closed."""
        await self._filled.wait()
        self._filled.clear()
        if self._is_closed:
            return None
        data = b"".join((*self._waiting, *self._faces.values()))
        self._waiting.clear()
        self._faces.clear()
        return data


@dataclass(slots=True)
class Shown:
    """What a page that has just been opened is told of one session."""

    status: dict[str, Any]
    second: dict[str, Any] | None = None
    ribbon: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=RIBBON_S))
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=EVENTS_MAX))
    faces_s: float = float("-inf")
    """When the last faces were sent."""

    def forget(self, participant: str) -> bool:
        """Takes everything away in which a participant takes part; whether there was anything."""
        name = f'"{participant}"'
        ribbon = [row for row in self.ribbon if name not in json.dumps(row)]
        events = [event for event in self.events if name not in json.dumps(event)]
        is_in = self.second is not None and name in json.dumps(self.second)
        had = is_in or len(ribbon) < len(self.ribbon) or len(events) < len(self.events)
        self.second = None if is_in else self.second
        self.ribbon = deque(ribbon, maxlen=RIBBON_S)
        self.events = deque(events, maxlen=EVENTS_MAX)
        return had

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return self.status | {"second": self.second, "ribbon": list(self.ribbon), "events": list(self.events)}


class LivePage:
    """A sink of sessions, and the routes of the page that shows them.

    Args:
        clients: Pages that may be open at a time.
        beat_s: After so long without news a page is told that there is none.
    """

    def __init__(self, *, clients: int = CLIENTS_MAX, beat_s: float = BEAT_S) -> None:
        self._assets = Assets()
        self._limit = clients
        self._beat_s = beat_s
        self._clients: dict[Client, web.Request] = {}
        self._shown: dict[str, Shown] = {}
        self._is_closed = False

    @property
    def n_clients(self) -> int:
        """How many pages are open."""
        return sum(request.transport is not None for request in self._clients.values())

    @property
    def free(self) -> frozenset[str]:
        """Paths of files that hold nothing of anybody: no token is asked for them."""
        return frozenset(self._assets.paths)

    def routes(self) -> list[web.RouteDef]:
        """To be added to the daemon's application."""
        files = [web.get(path, self._assets.serve) for path in self._assets.paths if path != PLOTLY_PATH]
        return [*files, web.get(PLOTLY_PATH, self._assets.plotly), web.get(STREAM, self._stream)]

    def close(self) -> None:
        """Lets all pages go; they say that attuned is away, and come back when it does."""
        self._is_closed = True
        for client in self._clients:
            client.close()

    async def status(self, info: SessionInfo, state: State, time_s: float, reason: str | None) -> None:
        """The session's state changed."""
        status = self._status(info, state, time_s, reason)
        self._of(info, status).status = status
        self._tell("status", status)

    async def second(self, info: SessionInfo, second: CallSecond) -> None:
        """Readings of everybody, the group's where there are enough, and what happened."""
        shown = self._of(info, self._status(info, "live", float(second.second), None))
        group = None
        if len(second.group.members) >= info.minimum:
            group = _bare(wire.group_emotion(second.group, info.stamp, 0))
            at = {"at": info.stamp.epoch_s(second.second)}
            shown.ribbon.append(
                at | {key: group[key] for key in ("probabilities", "synchrony", "polarisation", "deviation")}
            )
        readings = [_bare(wire.participant_emotion(r, info.versions, info.stamp, 0)) for r in second.readings]
        shown.second = {
            "session": info.id,
            "at": info.stamp.epoch_s(second.second),
            "members": list(second.group.members),
            "excluded": dict(second.group.excluded),
            "readings": readings,
            "group": group,
        }
        self._tell("second", shown.second)
        await self.events(info, second.events)

    async def events(self, info: SessionInfo, events: Sequence[Event]) -> None:
        """What happened; with the start of a session everything of an earlier one of this name is forgotten."""
        for event in events:
            if event.kind == "session_started":
                self._shown.pop(info.id, None)
            shown = self._of(info, self._status(info, "connecting", event.time_s, None))
            told = _bare(wire.event(event, info.stamp, 0)) | {"session": info.id}
            shown.events.append(told)
            self._tell("event", told)

    def watch(self, session: str, time_s: float, participants: Sequence[str], meshes: F32) -> None:
        """Shows where the points of faces are now; (n, 468, 3) meshes, one for each participant.

        Costs nothing while no page is open.
        """
        shown = self._shown.get(session)
        if not self._clients or shown is None or time_s - shown.faces_s < FACES_EVERY_S:
            return
        shown.faces_s = time_s
        faces = dict(zip(participants, outlines(meshes), strict=True))
        data = message("faces", {"session": session, "faces": faces})
        for client in self._clients:
            client.put_faces(session, data)

    def forget(self, participant: str) -> int:
        """Takes everything of a participant from what is kept for pages, and from the pages; in how many sessions."""
        n = sum([shown.forget(participant) for shown in self._shown.values()])
        for client in self._clients:
            client.forget(message("forgotten", self._everything()))
        return n

    def _everything(self) -> dict[str, Any]:
        """What a page is told that knows nothing yet, or is to know nothing else."""
        return {"beat_s": self._beat_s, "sessions": [shown.told() for shown in self._shown.values()]}

    def _status(self, info: SessionInfo, state: State, time_s: float, reason: str | None) -> dict[str, Any]:
        told: dict[str, Any] = {"session": info.id, "state": state, "reason": reason, "purpose": info.purpose}
        told |= {"basis": info.basis, "group_only": info.group_only}
        return told | {"ts": info.stamp.ts(time_s)}

    def _of(self, info: SessionInfo, status: dict[str, Any]) -> Shown:
        """What is kept of a session; the one that was begun first gives way where there are too many."""
        if info.id not in self._shown:
            while len(self._shown) >= SESSIONS_MAX:
                gone = next(iter(self._shown))
                del self._shown[gone]
                self._tell("gone", {"session": gone})
            self._shown[info.id] = Shown(status)
        return self._shown[info.id]

    def _tell(self, kind: str, data: Mapping[str, Any]) -> None:
        """To all pages, made into text once."""
        if self._clients:
            text = message(kind, data)
            for client in self._clients:
                client.put(text)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, until the page goes or attuned stops."""
        refused = self._refuses(request)
        if refused is not None:
            return refused
        for left, of in self._clients.items():
            if of.transport is None:
                # It would be noticed by the next writing, which may be some seconds off.
                left.close()
        client = Client()
        # The first message says everything so far; nothing can come between it and the first news.
        client.put(message("snapshot", self._everything()))
        self._clients[client] = request
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers | self._assets.headers)
        try:
            await response.prepare(request)
            while True:
                try:
                    async with asyncio.timeout(self._beat_s):
                        data = await client.get()
                except TimeoutError:
                    data = b""
                if data is None:
                    break
                async with asyncio.timeout(WRITE_S):
                    await response.write(data + message("beat", {"dropped": client.n_dropped}))
        except (ConnectionError, TimeoutError):
            # The page was closed, or takes nothing any more; it asks again when it wants to.
            if request.transport is not None:
                request.transport.abort()
        finally:
            del self._clients[client]
        return response

    def _refuses(self, request: web.Request) -> web.Response | None:
        """Why a page cannot have the stream; None where it can."""
        origin = request.headers.get("Origin")
        is_foreign = origin is not None and origin.partition("://")[2] != request.host
        if is_foreign or request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            return _error(403, "the stream is for attuned's own page")
        if self._is_closed:
            return _error(503, "attuned is stopping")
        if self.n_clients >= self._limit:
            return _error(503, f"{self._limit} pages are open; close one")
        return None


def _error(status: int, reason: str) -> web.Response:
    return web.Response(status=status, text=json.dumps({"error": reason}), content_type="application/json")


def _bare(payload: wire.Payload) -> dict[str, Any]:
    """A payload without what only the broker's subscribers need."""
    return {key: value for key, value in payload.items() if key not in {"schema", "session", "boot", "seq", "sources"}}
