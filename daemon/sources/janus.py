"""A bot in a Janus VideoRoom: it joins under a visible name, publishes nothing, and receives every publisher.

Each publisher comes by a subscription and a peer connection of its own (decisions/0009): aiortc loses the pictures of
an m-line that Janus uses again, and what one publisher sends cannot harm the others.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from daemon.errors import LostError, SourceError
from daemon.security import Guard
from daemon.sources.janus_api import JanusSession, Json, RefusedError, objects, plugin_data
from daemon.sources.janus_room import CODECS, Address, Camera, camera_of, is_person
from daemon.sources.live import Feeds
from daemon.sources.sdp import READS
from daemon.sources.urls import lowered
from daemon.sources.webrtc import IceSettings, Peer
from daemon.supervise import waits

log = structlog.get_logger()

DISPLAY = "attuned (reads expressions)"
NO_SUCH_ROOM = 426
NO_SUCH_FEED = 428
MISSING_ELEMENT = 429
INVALID_ELEMENT = 430
UNAUTHORIZED = 433
NO_SUCH_PLUGIN = 460
TOKEN_LACKS_PLUGIN = 405


class Pseudonyms(Protocol):
    """Who is who: `daemon.secret.RoomPseudonyms`."""

    def __call__(self, person: str, name: str | None) -> str:
        """The participant whom the room calls `person`."""

    def left(self, person: str) -> None:
        """That person is no longer in the room."""


@dataclass(slots=True)
class _Person:
    """Somebody in the room, and the task that receives the camera."""

    participant: str
    camera: Camera | None = None
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Room:
    """The room as it is while we are in it."""

    session: JanusSession
    tasks: asyncio.TaskGroup
    feeds: Feeds
    handle: int
    room: int | str
    private_id: int | None = None
    people: dict[str, _Person] = field(default_factory=dict)
    n_received: int = 0


class _OverError(Exception):
    """The call is over; ends the group of tasks."""


class JanusConnection:
    """Receives a room's publishers, each as a feed that is named by a pseudonym.

    Args:
        url: `janus+http://host:8088/janus?room=1234`; `pin`, `token` and `apisecret` may stand in it.
        ice: How the server may reach us.
        display: Our name in the room.
        pin: The room's.
        token: The server's, or the one by which the room knows whom it lets in.
        pseudonym: Who is who.
        substream: Which of a simulcast's pictures is asked for, from 0, the smallest, to 2.
        api_secret: The server's.
        guard: Which addresses may be connected to; None: all.

    Raises:
        SourceError: The address names no room.
    """

    component = "janus"
    is_room = True

    def __init__(
        self,
        url: str,
        *,
        ice: IceSettings,
        pseudonym: Pseudonyms,
        display: str = DISPLAY,
        pin: str | None = None,
        token: str | None = None,
        substream: int = 1,
        api_secret: str | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard
        self.n_unreadable = 0
        self._address = address = Address.parse(lowered(url))
        self._where = f"janus+{address.api}"
        self._ice = ice
        self._pseudonym = pseudonym
        self._display = display
        self._pin = pin if pin is not None else address.pin
        self._token = token if token is not None else address.token
        self._api_secret = api_secret if api_secret is not None else address.api_secret
        self._substream = substream

    async def run(self, feeds: Feeds) -> str:
        """Stays in the room until it is closed or we are removed.

        Raises:
            LostError: The server is gone, or the room is not there.
            SourceError: The room or the server does not let us in, or nothing in it can be read.
        """
        people: dict[str, _Person] = {}
        try:
            address = self._address
            async with (
                JanusSession(
                    address.api, token=self._token, api_secret=self._api_secret, login=address.login, guard=self._guard
                ) as session,
                asyncio.TaskGroup() as tasks,
            ):
                tasks.create_task(session.listen(), name="janus-listen")
                tasks.create_task(session.keep_alive(), name="janus-keep-alive")
                room = _Room(session, tasks, feeds, await self._attached(session), self._room_id(), people=people)
                await self._enter(room)
                raise _OverError(await self._follow(room))
        except BaseExceptionGroup as group:
            error = _first(group)
            if isinstance(error, _OverError):
                return str(error)
            raise error from None
        finally:
            for person in people:
                self._pseudonym.left(person)

    def _room_id(self) -> int | str:
        room = self._address.room
        return int(room) if room.isdecimal() and room.isascii() else room

    async def _attached(self, session: JanusSession) -> int:
        try:
            return await session.attach()
        except RefusedError as error:
            if error.code == NO_SUCH_PLUGIN:
                msg = f"{self._where}: the server has no VideoRoom; enable its plugin"
            elif error.code == TOKEN_LACKS_PLUGIN:
                msg = f"{self._where}: the token is not for VideoRoom; set source.token to one that is"
            else:
                msg = f"{self._where}: the server refuses: {_line(error)}"
            raise SourceError(msg) from error

    async def _enter(self, room: _Room) -> None:
        """Joins as a publisher that publishes nothing; that is how the room tells us who comes and goes."""
        try:
            said = await self._join(room)
        except RefusedError as error:
            if error.code != INVALID_ELEMENT or not isinstance(room.room, int):
                raise self._refusal(error) from error
            room.room = str(room.room)  # a server that names rooms by strings
            try:
                said = await self._join(room)
            except RefusedError as again:
                raise self._refusal(again) from again
        publishers = objects(said.get("publishers"))
        room.private_id = said.get("private_id")
        await self._check_codecs(room, publishers)
        room.feeds.connected()
        for publisher in publishers:
            self._is_there(room, publisher)

    async def _join(self, room: _Room) -> Json:
        body: Json = {"request": "join", "ptype": "publisher", "room": room.room, "display": self._display}
        body |= {k: v for k, v in (("pin", self._pin), ("token", self._token)) if v is not None}
        said, _ = await room.session.request(room.handle, body)
        return said

    def _refusal(self, error: RefusedError) -> LostError | SourceError:
        room = self._address.room
        if error.code == NO_SUCH_ROOM:
            # A server that is starting again may make it anew.
            return LostError(f"{self._where}: there is no room {room}; check room= in the address", final_at_first=True)
        if error.code in {UNAUTHORIZED, MISSING_ELEMENT} and "pin" in str(error):
            wrong = "wrong pin" if self._pin is not None else "the room asks for a pin"
            return SourceError(f"{self._where}: {wrong}; set source.pin")
        if error.code == UNAUTHORIZED:
            wrong = "wrong token" if self._token is not None else "the room asks for a token"
            return SourceError(f"{self._where}: {wrong}; set source.token")
        return SourceError(f"{self._where}: room {room} does not let us in: {_line(error)}")

    async def _check_codecs(self, room: _Room, publishers: list[Json]) -> None:
        """Whether anything in the room can be read, as far as that is known when we enter."""
        cameras = [camera for publisher in publishers if (camera := camera_of(publisher)) is not None]
        if any(camera.is_readable for camera in cameras):
            return
        codecs = {camera.codec for camera in cameras} or await self._codecs_of(room)
        if codecs and not codecs & set(CODECS):
            names = ", ".join(sorted(codec.upper() for codec in codecs))
            msg = f"{self._where}: the room's video is {names}, and attuned reads {READS}; set the room's videocodec = \"vp8\""
            raise SourceError(msg)

    async def _codecs_of(self, room: _Room) -> set[str]:
        """The video codecs that the room allows; empty where the server does not say."""
        with suppress(RefusedError):
            said, _ = await room.session.request(room.handle, {"request": "list"})
            for described in objects(said.get("list")):
                if str(described.get("room")) == str(room.room):
                    return set(filter(None, str(described.get("videocodec", "")).lower().split(",")))
        return set()

    async def _follow(self, room: _Room) -> str:
        """Keeps up with who is there, and returns why we no longer are."""
        while True:
            message = await room.session.event()
            said = plugin_data(message)
            if message.get("sender") != room.handle:
                continue
            if said.get("videoroom") == "destroyed":
                return "the room was closed"
            if said.get("leaving") == "ok" or message.get("janus") == "detached":
                return "removed from the room"
            for publisher in objects(said.get("publishers")):
                self._is_there(room, publisher)
            for what in ("unpublished", "leaving", "kicked"):
                self._is_gone(room, str(said.get(what, "")))

    def _is_there(self, room: _Room, publisher: Json) -> None:
        """Somebody publishes, or does so in another way than before."""
        identity = str(publisher.get("id"))
        if not is_person(publisher):
            self._is_gone(room, identity)
            return
        person = room.people.get(identity)
        if person is None:
            name = publisher.get("display")
            participant = self._pseudonym(identity, name if isinstance(name, str) else None)
            person = room.people[identity] = _Person(participant)
            room.feeds.open(participant)
        camera = camera_of(publisher)
        if camera == person.camera or person.participant not in room.feeds.open_feeds:
            return
        person.camera = camera
        if person.task is not None:
            person.task.cancel()
        person.task = None
        if camera is not None and not camera.is_readable:
            self._unreadable(camera.codec)
        elif camera is not None:
            watching = self._watch(room, publisher.get("id", 0), person.participant, camera)
            person.task = room.tasks.create_task(watching, name=f"janus[{person.participant}]")

    def _is_gone(self, room: _Room, identity: str) -> None:
        person = room.people.pop(identity, None)
        if person is None:
            return
        if person.task is not None:
            person.task.cancel()
        room.feeds.close(person.participant)
        self._pseudonym.left(identity)

    def _unreadable(self, codec: str) -> None:
        self.n_unreadable += 1
        log.warning("a publisher's video cannot be read", codec=codec, reads=READS, total=self.n_unreadable)

    async def _watch(self, room: _Room, publisher: int | str, participant: str, camera: Camera) -> None:
        """Receives a camera, again and again, for as long as it is there.

        Raises:
            LostError: It cannot be received, and neither can any other.
            SourceError: `webrtc.addresses` cannot be used.
        """
        pauses, told = waits(), False
        while True:
            try:
                await self._receive(room, publisher, participant, camera)
            except RefusedError as error:
                if error.code == NO_SUCH_FEED:
                    return  # has just left; the room says so next
                reason = _line(error)
            except SourceError as error:
                log.warning("a publisher's video cannot be read", reason=str(error))
                self.n_unreadable += 1
                return
            except LostError as error:
                if error.final_at_first:
                    raise SourceError(str(error)) from error
                if room.n_received == 0:
                    raise
                reason = str(error)
            if not told:
                log.warning("a publisher cannot be received", reason=reason)
                told = True
            await asyncio.sleep(next(pauses))

    async def _receive(self, room: _Room, publisher: int | str, participant: str, camera: Camera) -> None:
        """One subscription, until it is lost."""

        def put(_: str, picture: Any) -> None:  # noqa: ANN401
            room.n_received += 1
            room.feeds.put(participant, picture)

        body: Json = {"request": "join", "ptype": "subscriber", "room": room.room, "autoupdate": False}
        if camera.mid is None:
            body |= {"feed": publisher, "offer_audio": False, "offer_data": False}
        else:
            stream: Json = {"feed": publisher, "mid": camera.mid}
            body["streams"] = [stream | ({"substream": self._substream} if camera.is_simulcast else {})]
        if room.private_id is not None:
            body["private_id"] = room.private_id
        if self._pin is not None:
            body["pin"] = self._pin
        handle = await room.session.attach()
        try:
            async with Peer(self._ice, put, room.feeds.skipped) as peer:
                _, offer = await room.session.request(handle, body)
                answer = await peer.answer(str((offer or {}).get("sdp")))
                await room.session.request(handle, {"request": "start"}, {"type": "answer", "sdp": answer})
                await peer.until_lost(None)
        finally:
            await room.session.detach(handle)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended the tasks: the end of the call before its failure, and before both whatever is a mistake of ours."""
    leaves = list(_leaves(group))
    kinds = (_OverError, SourceError, LostError)
    mistakes = [leaf for leaf in leaves if not isinstance(leaf, kinds)]
    return (
        group if mistakes else min(leaves, key=lambda leaf: next(i for i, k in enumerate(kinds) if isinstance(leaf, k)))
    )


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _line(error: RefusedError) -> str:
    """What the server says, on one line of bounded length."""
    return " ".join(str(error).split())[:200] or f"error {error.code}"
