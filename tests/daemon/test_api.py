"""The sessions API over real HTTP, with sessions that do nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from videos import run

from config.sections import SessionSection, SourceSection
from daemon.api import ROOT, SessionsApi
from daemon.consent import ConsentGate
from daemon.corrections import Correction
from daemon.errors import SourceError
from daemon.http import make_app
from daemon.session import to_the_end
from daemon.sessions import Entry, Sessions, plan_of

WORD = "s3cret"
GOOD = {"url": "rtsp://maud:secret@camera/1", "purpose": "research"}


class Quiet:
    """A session in which two people sit."""

    def __init__(self, consent: str) -> None:
        self.state = "live"
        self.reason: str | None = None
        self.participants = ("p-00000001", "p-00000002")
        self.consent = ConsentGate(consent)


async def play(entry: Entry) -> None:
    """Goes on until it is cancelled; one address fails, one ends at once."""
    if "bug" in entry.plan.url:
        raise ZeroDivisionError
    if "wrong" in entry.plan.url:
        error = SourceError(f"{entry.plan.url}: no such stream")
        raise error
    entry.session = session = Quiet(entry.plan.consent)
    try:
        if "short" not in entry.plan.url:
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        session.reason = "stopped"
        raise
    finally:
        await to_the_end(asyncio.sleep(0.05))
        session.state = "ended"


Scene = Callable[[ClientSession, Sessions], Awaitable[None]]


def act(
    scene: Scene,
    *,
    token: str | None = None,
    limit: int = 3,
    keep: int = 2,
    source: SourceSection | None = None,
) -> tuple[list[Any], list[str]]:
    """Runs a scene against a server; returns what consent was told and which sessions were forgotten."""
    answers: list[Any] = []
    forgotten: list[str] = []

    async def answer(session: str, participant: str, granted: bool) -> None:  # noqa: FBT001 (a callback)
        answers.append((session, participant, granted))

    async def main() -> None:
        sessions = Sessions(play, limit=limit, keep=keep, on_forget=forgotten.append)
        stop = asyncio.Event()
        api = SessionsApi(sessions, source=source or SourceSection(), answer=answer)
        app = make_app(CollectorRegistry(), list, routes=api.routes(), token=token)
        async with TestServer(app) as server, ClientSession(server.make_url("/")) as client:
            running = asyncio.create_task(sessions.run([], stay=True, stop=stop))
            await asyncio.sleep(0)
            try:
                await scene(client, sessions)
            finally:
                stop.set()
                await running

    run(main())
    return answers, forgotten


async def told(response: ClientResponse) -> tuple[int, Any]:
    """Status and JSON."""
    return response.status, await response.json()


def test_a_session_is_begun_shown_and_ended() -> None:
    """201 with a Location, then it is in the list, then it has ended; credentials are never told."""

    async def scene(client: ClientSession, _: Sessions) -> None:
        begun = await client.post(ROOT, json=GOOD | {"name": "monday", "password": "secret2"})
        assert (begun.status, begun.headers["Location"]) == (201, f"{ROOT}/monday")
        assert (await begun.json())["state"] == "connecting"
        await asyncio.sleep(0.05)
        status, shown = await told(await client.get(f"{ROOT}/monday"))
        assert (status, shown["state"], shown["consent"], shown["purpose"]) == (200, "live", "required", "research")
        assert "secret" not in str(shown)
        assert (await told(await client.get(ROOT)))[1] == {"sessions": [shown]}
        assert (await client.post(ROOT, json=GOOD | {"name": "monday"})).status == 409
        status, ended = await told(await client.delete(f"{ROOT}/monday"))
        assert (status, ended["state"], ended["reason"]) == (200, "ended", "stopped")
        assert (await client.post(ROOT, json=GOOD | {"name": "monday"})).status == 201

    act(scene)


def test_a_session_that_fails_says_why() -> None:
    """The state is `failed`, the reason is one line, and the others go on."""

    async def scene(client: ClientSession, _: Sessions) -> None:
        name = (await (await client.post(ROOT, json=GOOD | {"url": "rtsp://wrong/1"})).json())["id"]
        await asyncio.sleep(0.05)
        _, shown = await told(await client.get(f"{ROOT}/{name}"))
        assert (shown["state"], shown["reason"]) == ("failed", "rtsp://wrong/1: no such stream")

    act(scene)


def test_a_bug_in_one_session_leaves_the_others_alone() -> None:
    """It has failed, with a reason that leads to the log, and whoever else is there stays."""

    async def scene(client: ClientSession, _: Sessions) -> None:
        await client.post(ROOT, json=GOOD | {"name": "good"})
        await client.post(ROOT, json=GOOD | {"name": "bad", "url": "bug.mp4"})
        await asyncio.sleep(0.05)
        shown = (await told(await client.get(f"{ROOT}/bad")))[1]
        assert (shown["state"], shown["reason"]) == ("failed", "internal error; the log says more")
        assert (await told(await client.get(f"{ROOT}/good")))[1]["state"] == "live"

    act(scene)


def test_ending_a_session_twice_ends_it_once() -> None:
    """Whoever asks again while it says goodbye does not break that off."""

    async def scene(client: ClientSession, _: Sessions) -> None:
        await client.post(ROOT, json=GOOD | {"name": "n"})
        await asyncio.sleep(0.05)
        ends = await asyncio.gather(*(client.delete(f"{ROOT}/n") for _ in range(6)))
        assert [(await told(end))[1]["state"] for end in ends] == ["ended"] * 6
        assert (await client.post(ROOT, json=GOOD | {"name": "n"})).status == 201

    act(scene)


def test_credentials_of_the_configuration_are_not_for_the_api() -> None:
    """Whoever asks for a session names the server: it gets what was sent along, and nothing else."""
    seen: list[SourceSection] = []

    async def scene(client: ClientSession, sessions: Sessions) -> None:
        await client.post(ROOT, json=GOOD | {"name": "n", "pin": "1234"})
        seen.append(sessions.entries["n"].plan.source)

    act(scene, source=SourceSection(password=WORD, token_file=Path("x"), display="bot"))
    assert (seen[0].password, seen[0].token_file, seen[0].display) == (None, None, "bot")
    assert seen[0].pin is not None


def test_a_stranger_under_our_address_is_refused() -> None:
    """A page that gave its own name our address cannot ask us; health is for everybody."""

    async def scene(client: ClientSession, _: Sessions) -> None:
        stranger = {"Host": "evil.example"}
        assert (await client.get(ROOT, headers=stranger)).status == 421
        assert (await client.get("/livez", headers=stranger)).status == 200
        for name in ("localhost:8765", "127.0.0.1", "[::1]:80", "[::1]"):
            assert (await client.get(ROOT, headers={"Host": name})).status == 200

    act(scene)


def test_a_bug_in_a_request_is_told_as_json() -> None:
    """A status of 500 and one line, no page of somebody else's making."""

    async def scene(client: ClientSession, sessions: Sessions) -> None:
        sessions.entries["x"] = None
        status, answer = await told(await client.get(ROOT))
        del sessions.entries["x"]
        assert (status, answer) == (500, {"error": "internal error; the log says more"})

    act(scene)


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"purpose": "research"}, "url: "),
        ({"url": "", "purpose": "research"}, "url: "),
        ({"url": 1, "purpose": "research"}, "url: "),
        ({"url": "rtsp://x"}, "purpose: "),
        (GOOD | {"purpose": "workplace"}, "purpose: workplace is refused"),
        (GOOD | {"purpose": "fun"}, "purpose: "),
        (GOOD | {"consent": "maybe"}, "consent: "),
        (GOOD | {"name": "a b"}, "name: "),
        (GOOD | {"typo": 1}, "typo: "),
        (GOOD | {"url": "zoom://x"}, "zoom:// is no kind of source"),
        (GOOD | {"url": "a\0b.mp4"}, "url: "),
        (GOOD | {"url": "ftp://x", "consent": "declared"}, "ftp:// is no kind of source"),
        ([], "expected an object"),
    ],
)
def test_a_bad_request_is_refused_with_the_reason(body: object, part: str) -> None:
    """400, and what is wrong with which field."""

    async def scene(client: ClientSession, sessions: Sessions) -> None:
        status, answer = await told(await client.post(ROOT, json=body))
        assert status == 400
        assert part in answer["error"]
        assert sessions.entries == {}

    act(scene)


def test_only_json_is_taken() -> None:
    """A page of somebody else's can send a form or plain text unasked, but not this type; broken JSON is said."""

    async def scene(client: ClientSession, _: Sessions) -> None:
        plain = await client.post(ROOT, data='{"url": "a.mp4", "purpose": "research"}')
        assert plain.status == 415
        broken = await client.post(ROOT, data="{", headers={"Content-Type": "application/json"})
        assert (broken.status, "not JSON" in (await broken.json())["error"]) == (400, True)
        for text in ("9" * 5000, '{"url": NaN}'):
            odd = await client.post(ROOT, data=text, headers={"Content-Type": "application/json"})
            assert odd.status == 400
        foreign = await client.post(ROOT, data="{}", headers={"Content-Type": "application/json; charset=foo"})
        assert foreign.status == 400
        large = await client.post(ROOT, json=GOOD | {"url": "x" * 100_000})
        assert large.status == 413

    act(scene)


def test_sessions_are_bounded_and_forgotten() -> None:
    """Beyond the limit 503; of those that are over the oldest are forgotten, and that is told."""

    async def scene(client: ClientSession, sessions: Sessions) -> None:
        for number in range(3):
            assert (await client.post(ROOT, json=GOOD | {"name": f"n{number}"})).status == 201
        assert (await client.post(ROOT, json=GOOD)).status == 503
        for number in range(3):
            await client.delete(f"{ROOT}/n{number}")
        for number in range(4):
            await client.post(ROOT, json=GOOD | {"name": f"m{number}", "url": "short.mp4"})
            await asyncio.sleep(0.1)
        assert len(sessions.entries) <= 3

    _, forgotten = act(scene)
    assert forgotten == ["n0", "n1", "n2", "m0"][: len(forgotten)]
    assert len(forgotten) >= 3


def test_who_is_there_and_what_they_agreed_to() -> None:
    """Participants by pseudonym; consent is passed on for who is there, and refused for anybody else."""

    async def scene(client: ClientSession, _: Sessions) -> None:
        await client.post(ROOT, json=GOOD | {"name": "n"})
        await asyncio.sleep(0.05)
        people = (await told(await client.get(f"{ROOT}/n/participants")))[1]["participants"]
        assert people[0] == {"id": "p-00000001", "consent": "required"}
        assert len(people) == 2
        where = f"{ROOT}/n/participants/p-00000001/consent"
        assert (await client.put(where, json={"state": "granted"})).status == 200
        for state in ("perhaps", [], {}, None):
            assert (await client.put(where, json={"state": state})).status == 400
        assert (await client.put(f"{ROOT}/n/participants/p-9/consent", json={"state": "granted"})).status == 404
        assert (await client.get(f"{ROOT}/x/participants")).status == 404
        assert (await client.patch(f"{ROOT}/n")).status == 405

    assert act(scene)[0] == [("n", "p-00000001", True)]


def test_a_token_guards_everything_but_health() -> None:
    """Without it 401, with a wrong one 401, with the right one all is as ever; health is for everybody."""

    async def scene(client: ClientSession, _: Sessions) -> None:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret"}):
            refused = await client.get(ROOT, headers=headers)
            assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await client.get(ROOT, headers={"Authorization": f"Bearer {WORD}"})).status == 200
        assert (await client.get("/livez")).status == 200
        assert (await client.get("/readyz")).status == 200

    act(scene, token=WORD)


def test_nothing_is_begun_while_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks before sessions can be begun waits a moment, and is then refused, not lost."""
    monkeypatch.setattr("daemon.api.START_S", 0.1)

    async def main() -> None:
        sessions = Sessions(play, limit=1, keep=1, on_forget=lambda _: None)
        api = SessionsApi(sessions, source=SourceSection(), answer=None)
        app = make_app(CollectorRegistry(), list, routes=api.routes())
        async with TestServer(app) as server, ClientSession(server.make_url("/")) as client:
            assert (await client.post(ROOT, json=GOOD)).status == 503

    run(main())


def test_a_sessions_own_secret_file_wins() -> None:
    """A password that is set for all does not go to the server of a session that names a file of its own."""
    own = SessionSection(
        name="n", url="rtsp://camera/1", purpose="research", source=SourceSection(password_file=Path("mine"))
    )
    plan = plan_of(own, SourceSection(password=WORD, pin=WORD, display="bot"))
    assert (plan.source.password, plan.source.password_file) == (None, Path("mine"))
    assert plan.source.pin is not None
    assert (plan.source.display, plan.consent) == ("bot", "required")


def test_only_what_was_asked_for_first_ends_everything() -> None:
    """`join` ends with its own call: not because somebody else's failed, and not later because one still runs."""

    async def main() -> list[str]:
        sessions = Sessions(play, limit=5, keep=5, on_forget=lambda _: None)
        section = SessionSection(name="own", url="rtsp://camera/1", purpose="research")
        plan = plan_of(section, SourceSection())
        running = asyncio.create_task(sessions.run([plan], stay=False, stop=asyncio.Event()))
        await sessions.started.wait()
        sessions.begin(replace(plan, id="bad", url="rtsp://wrong/1"))
        sessions.begin(replace(plan, id="other"))
        await asyncio.sleep(0.1)
        assert not running.done()
        await sessions.end("own")
        await running
        return [entry.state for entry in sessions.entries.values()]

    assert run(main()) == ["ended", "failed", "ended"]


def test_corrections_and_erasing() -> None:
    """A correction is passed on as it was understood, a wrong one refused with what is expected; a person is erased."""
    said: list[Any] = []
    gone: list[str] = []

    async def label(session: str, participant: str, correction: Correction) -> int:
        if participant != "p-00000001":
            msg = "was not read"
            raise ValueError(msg)
        said.append((session, correction))
        return 3

    async def forget(participant: str) -> dict[str, Any]:
        gone.append(participant)
        return {"id": participant, "erased": True, "failed": ["disk"] if participant == "p-00000003" else []}

    async def main() -> None:
        sessions = Sessions(play, limit=1, keep=1, on_forget=lambda _: None)
        api = SessionsApi(sessions, source=SourceSection(), answer=None, label=label, forget=forget)
        app = make_app(CollectorRegistry(), list, routes=api.routes())
        stop = asyncio.Event()
        async with TestServer(app) as server, ClientSession(server.make_url("/")) as client:
            running = asyncio.create_task(sessions.run([], stay=True, stop=stop))
            await client.post(ROOT, json=GOOD | {"name": "n"})
            anna, bob = (f"{ROOT}/n/participants/p-0000000{i}" for i in (1, 2))
            body = {"emotion": "fear", "from": 3, "to": 5}
            assert await told(await client.post(f"{anna}/labels", json=body)) == (
                200,
                {"id": "p-00000001", "seconds": 3},
            )
            assert (await client.post(f"{bob}/labels", json=body)).status == 400
            status, wrong = await told(await client.post(f"{anna}/labels", json={"emotion": "hunger"}))
            assert (status, wrong["error"].startswith("emotion: expected one of anger")) == (400, True)
            erased = {"id": "p-00000002", "erased": True, "failed": []}
            assert await told(await client.delete(f"{bob}/data")) == (200, erased)
            # Also of somebody whose session nobody remembers; what could not be erased is no success.
            assert (await client.delete("/api/v1/participants/p-00000003/data")).status == 500
            assert (await client.delete(f"{ROOT}/other/participants/p-00000001/data")).status == 404
            stop.set()
            await running

    run(main())
    assert said == [("n", Correction("fear", (3, 5)))]
    assert gone == ["p-00000002", "p-00000003"]
