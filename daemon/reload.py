"""New settings for a daemon that runs: what of them it takes over, when, and what needs a restart."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import structlog
from pydantic import BaseModel

from config.errors import ConfigError
from config.settings import Settings
from daemon.errors import SourceError
from daemon.sessions import plan_of

log = structlog.get_logger()

Effect = Literal["now", "next session", "restart"]

EFFECTS: Mapping[str, Effect] = {
    "node": "restart",
    "state_dir": "restart",
    "analysis": "next session",
    "analysis.workers": "restart",
    "models": "restart",
    "gallery": "next session",
    "fusion": "next session",
    "fusion.rule": "restart",
    "changes": "next session",
    "noise": "next session",
    "denoise": "next session",
    "group": "next session",
    "polarisation": "next session",
    "engagement": "next session",
    "labels": "next session",
    "personal": "restart",
    "personal.erase_on_denial": "now",
    "mqtt": "restart",
    "outbox": "restart",
    "history": "restart",
    "home_assistant": "restart",
    "lsl": "restart",
    "http": "restart",
    "api": "restart",
    "privacy": "restart",
    "audit": "restart",
    "source": "next session",
    "webrtc": "restart",
    "limits": "now",
    "metrics": "restart",
    "log": "now",
    "sessions": "now",
}
"""When a change takes effect, by section, or by key where one differs from its section. A session of the configuration
that is new is begun, one that is gone is ended, one that reads otherwise is begun anew; all others run on untouched."""


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that is not what it was; its values are not told, since they may be secret."""

    key: str
    effect: Effect


class Reloadable(Protocol):
    """What takes settings over."""

    @property
    def settings(self) -> Settings:
        """Those it runs by."""

    async def apply(self, settings: Settings) -> None:
        """Runs by these from now on; they differ from the present ones in what can be changed only."""


def effect_of(key: str) -> Effect:
    """When a change of this key takes effect.

    Raises:
        KeyError: There is no such section.
    """
    return EFFECTS[key] if key in EFFECTS else EFFECTS[key.partition(".")[0]]


def changes(old: Settings, new: Settings) -> tuple[Change, ...]:
    """What differs, key by key, in the order of the sections."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    return tuple(Change(key, effect_of(key)) for key in after if before[key] != after[key])


def merged(old: Settings, new: Settings) -> Settings:
    """The new settings, but as they were in everything that needs a restart."""
    kept = [change.key.split(".") for change in changes(old, new) if change.effect == "restart"]
    for path in kept:
        new = _with(new, path, _at(old, path))
    return new


async def reload(node: Reloadable, load: Callable[[], Settings]) -> bool:
    """Has a node take over what `load` reads, and says of every change what becomes of it; whether all could be read.

    A mistake anywhere changes nothing.
    """
    try:
        new = await asyncio.to_thread(load)
        for session in new.sessions:
            plan_of(session, new.source)
    except (ConfigError, SourceError) as error:
        mistakes = error.mistakes if isinstance(error, ConfigError) else (str(error),)
        for mistake in mistakes:
            log.error("not reloaded, all stays as it was", mistake=mistake)  # noqa: TRY400 (no traceback for users)
        return False
    found = changes(node.settings, new)
    await node.apply(merged(node.settings, new))
    # Afterwards, so that the new level counts; what is not done yet is worth a warning.
    for change in found:
        tell = log.warning if change.effect == "restart" else log.info
        tell("setting changed", key=change.key, takes_effect=change.effect)
    log.info("settings reloaded", n_changed=len(found), n_restart=sum(c.effect == "restart" for c in found))
    return True


def _leaves(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key, with dots, and its value."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _at(model: Any, path: list[str]) -> Any:  # noqa: ANN401 (any setting)
    """The value of a key."""
    for name in path:
        model = getattr(model, name)
    return model


def _with(model: Any, path: list[str], value: Any) -> Any:  # noqa: ANN401
    """A copy with another value of a key."""
    name, *rest = path
    return model.model_copy(update={name: _with(getattr(model, name), rest, value) if rest else value})
