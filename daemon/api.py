"""The sessions API: `/api/v1/sessions`, what is in them, and consent. JSON in, JSON out, errors are `{"error": …}`."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from secrets import token_hex
from typing import Annotated, Any

from aiohttp import web
from pydantic import BeforeValidator, Field, SecretStr, ValidationError

from config.sections import ADDRESS, SESSION_NAME, Consent, Purpose, Section, SourceSection, check_purpose
from daemon.corrections import Correction
from daemon.errors import FailedError, SourceError
from daemon.security import Guard
from daemon.sessions import Entry, Plan, RefusedError, Sessions
from daemon.sources.urls import kind_of

ROOT = "/api/v1/sessions"
PEOPLE = "/api/v1/participants"
START_S = 10.0
CREDENTIALS = ("username", "password", "token", "pin")
SECRETS = {*CREDENTIALS, "password_file", "token_file", "pin_file"}


class SessionRequest(Section):
    """The body of a request for a session."""

    url: str = Field(pattern=ADDRESS, repr=False)
    purpose: Annotated[Purpose, BeforeValidator(check_purpose)]
    consent: Consent | None = None
    name: str | None = Field(None, pattern=SESSION_NAME)
    username: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None
    pin: SecretStr | None = None


class BadRequestError(Exception):
    """What was sent cannot be used; `status` is the HTTP status."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


Handler = Callable[[web.Request], Awaitable[web.Response]]


class SessionsApi:
    """The routes of the API.

    Args:
        sessions: What it is about.
        source: How sources are reached. Its credentials are for the sessions of the configuration: whoever may ask for a
            session names the server that would get them.
        answer: Notes what a participant of a session said about being read.
        label: Takes a correction in, and says how many seconds it labels; raises ValueError. None: there is no such route.
        forget: Erases what is kept of a participant, and says what came of it; raises ValueError. None: as above.
        guard: Where sessions that are asked for may lead; None: anywhere.
    """

    def __init__(
        self,
        sessions: Sessions,
        *,
        source: SourceSection,
        answer: Callable[[str, str, bool], Awaitable[None]],
        label: Callable[[str, str, Correction], Awaitable[int]] | None = None,
        forget: Callable[[str], Awaitable[dict[str, Any]]] | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard
        self._sessions = sessions
        self.source = source
        self._answer = answer
        self._label = label
        self._forget = forget

    def routes(self) -> list[web.RouteDef]:
        """To be added to the daemon's application."""
        routes = [
            web.get(ROOT, _told(self._list)),
            web.post(ROOT, _told(self._begin)),
            web.get(ROOT + "/{id}", _told(self._show)),
            web.delete(ROOT + "/{id}", _told(self._end)),
            web.get(ROOT + "/{id}/participants", _told(self._participants)),
            web.put(ROOT + "/{id}/participants/{participant}/consent", _told(self._consent)),
        ]
        person = ROOT + "/{id}/participants/{participant}"
        if self._label is not None:
            routes.append(web.post(f"{person}/labels", _told(partial(self._correct, self._label))))
        if self._forget is not None:
            routes.append(web.delete(f"{person}/data", _told(partial(self._erase, self._forget))))
            # Of somebody whose session is forgotten; what is kept is kept by person.
            routes.append(web.delete(PEOPLE + "/{participant}/data", _told(partial(self._erase, self._forget))))
        return routes

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"sessions": [entry.told() for entry in self._sessions.entries.values()]})

    async def _begin(self, request: web.Request) -> web.Response:
        plan = self._plan(await _json(request))
        # Whoever starts attuned and asks at once is not to be sent away.
        with suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                await self._sessions.started.wait()
        entry = self._sessions.begin(plan)
        location = {"Location": f"{ROOT}/{entry.plan.id}"}
        return web.json_response(entry.told(), status=201, headers=location)

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(self._entry(request).told())

    async def _end(self, request: web.Request) -> web.Response:
        entry = self._entry(request)
        await self._sessions.end(entry.plan.id)
        return web.json_response(entry.told())

    async def _participants(self, request: web.Request) -> web.Response:
        session = self._entry(request).session
        people = (
            []
            if session is None
            else [{"id": person, "consent": session.consent.state(person)} for person in session.participants]
        )
        return web.json_response({"participants": people})

    async def _consent(self, request: web.Request) -> web.Response:
        entry, participant = self._entry(request), request.match_info["participant"]
        state = (await _json(request)).get("state")
        if not isinstance(state, str) or state not in {"granted", "denied"}:
            msg = f"state: expected granted or denied, got {state!r}"
            raise BadRequestError(msg)
        if entry.session is None or entry.is_over or participant not in entry.session.participants:
            msg = (
                f"{participant} is not in session {entry.plan.id}; GET {ROOT}/{entry.plan.id}/participants says who is"
            )
            raise BadRequestError(msg, status=404)
        await self._answer(entry.plan.id, participant, state == "granted")
        return web.json_response({"id": participant, "consent": state})

    async def _correct(
        self, take: Callable[[str, str, Correction], Awaitable[int]], request: web.Request
    ) -> web.Response:
        entry, participant = self._entry(request), request.match_info["participant"]
        fields = await _json(request)
        try:
            n = await take(entry.plan.id, participant, Correction.of(fields))
        except ValueError as error:
            raise BadRequestError(str(error)) from error
        return web.json_response({"id": participant, "seconds": n})

    async def _erase(self, forget: Callable[[str], Awaitable[dict[str, Any]]], request: web.Request) -> web.Response:
        """Also of a session that is over, and of somebody who has left it: what is kept is kept by person."""
        if "id" in request.match_info:
            self._entry(request)
        try:
            done = await forget(request.match_info["participant"])
        except ValueError as error:
            raise BadRequestError(str(error)) from error
        except FailedError as error:
            return web.json_response({"error": str(error)}, status=500)
        return web.json_response(done, status=500 if done["failed"] else 200)

    def _entry(self, request: web.Request) -> Entry:
        name = request.match_info["id"]
        entry = self._sessions.entries.get(name)
        if entry is None:
            msg = f"there is no session {name}; GET {ROOT} lists them"
            raise BadRequestError(msg, status=404)
        return entry

    def _plan(self, body: dict[str, Any]) -> Plan:
        """The session that is asked for."""
        asked = SessionRequest.model_validate(body)
        kind = kind_of(asked.url)
        if self._guard is not None:
            self._guard.check_url(asked.url)
        own = asked.model_dump(include=set(CREDENTIALS), exclude_none=True)
        return Plan(
            id=asked.name or f"s-{token_hex(4)}",
            url=asked.url,
            purpose=asked.purpose,
            consent=asked.consent or ("declared" if kind == "file" else "required"),
            source=SourceSection.model_validate(self.source.model_dump(exclude=SECRETS) | own),
            give_up_s=self.source.give_up_s,
            guard=self._guard,
        )


def _told(handler: Handler) -> Handler:
    """Errors become JSON."""

    async def handle(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except (BadRequestError, RefusedError) as error:
            return web.json_response({"error": str(error)}, status=error.status)
        except SourceError as error:
            return web.json_response({"error": str(error)}, status=400)
        except ValidationError as error:
            mistakes = error.errors(include_url=False, include_input=False)
            told = (f"{'.'.join(map(str, m['loc']))}: {m['msg'].removeprefix('Value error, ')}" for m in mistakes)
            return web.json_response({"error": "; ".join(told)}, status=400)

    return handle


async def _json(request: web.Request) -> dict[str, Any]:
    """The object in the body. The content type is insisted on: a page of somebody else's cannot send it unasked."""
    if request.content_type != "application/json":
        msg = f"send JSON with Content-Type: application/json, not {request.content_type}"
        raise BadRequestError(msg, status=415)
    try:
        body = await request.json()
    except (ValueError, LookupError, RecursionError) as error:
        msg = f"the body is not JSON: {type(error).__name__}"
        raise BadRequestError(msg) from error
    if not isinstance(body, dict):
        msg = f"expected an object, got {type(body).__name__}"
        raise BadRequestError(msg)
    return body
