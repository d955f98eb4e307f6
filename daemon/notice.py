"""`attuned notice`: what participants are told before a call, in plain words, from the configuration.

The texts lie in `notices/`, a file for each language with the same keys. They are a draft for whoever is responsible,
who knows what else is done with the readings; a lawyer's answer they are not.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from config.sections import Consent, Purpose
from config.settings import Settings
from daemon.errors import UnusableInputError

FOLDER: Final = Path(__file__).parent / "notices"
LANGUAGES: Final = ("en", "de", "fr", "it", "es")
DAY_S: Final = 86_400
WIDTH: Final = 88


@dataclass(frozen=True, slots=True)
class Told:
    """What a call is: why it is read, and whether people are asked one by one."""

    purposes: tuple[Purpose, ...]
    consent: Consent


def told_of(settings: Settings, purpose: Purpose | None = None, consent: Consent | None = None) -> Told:
    """What the configuration says of its sessions, where nothing else is said.

    Without sessions the purpose is research. Where any of them asks people one by one, that is what is told.
    """
    configured = {session.purpose for session in settings.sessions}
    purposes = (purpose,) if purpose is not None else tuple(sorted(configured)) or ("research",)
    asks = not settings.sessions or any(session.consent != "declared" for session in settings.sessions)
    return Told(purposes, consent or ("required" if asks else "declared"))


def notice(settings: Settings, language: str, told: Told) -> str:
    """The notice as plain text, with headings underlined as Markdown has them.

    Raises:
        UnusableInputError: There is none in this language.
    """
    if language not in LANGUAGES:
        msg = f"--lang {language}: give one of {', '.join(LANGUAGES)}"
        raise UnusableInputError(msg)
    words = _words(language)
    title = str(words["title"])
    blocks = [f"{title}\n{'=' * len(title)}", *_who(settings, words)]
    for heading, texts in _parts(settings, told, words):
        blocks += [f"{heading}\n{'-' * len(heading)}", *texts]
    return "\n\n".join(blocks) + "\n"


def _who(settings: Settings, words: dict[str, Any]) -> list[str]:
    """Who is responsible, and whom to ask."""
    privacy = settings.privacy
    lines = [
        words[key].format(**{key: value})
        for key, value in (("controller", privacy.controller), ("contact", privacy.contact))
        if value is not None
    ]
    return ["\n".join(lines)] if lines else [_filled(words["no_contact"])]


def _parts(settings: Settings, told: Told, words: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Headings with their paragraphs."""
    privacy = settings.privacy
    what = [words["what"], words["not_what"]]
    if privacy.group_only:
        minimum = max(privacy.group_minimum, settings.group.minimum)
        what.append(words["group_only"].format(minimum=minimum))
    purposes = ", ".join(words["purposes"][purpose] for purpose in told.purposes)
    why = words["purpose"].format(purpose=purposes, basis=words["bases"][privacy.basis])
    erases = words["withdraw_erases" if settings.personal.erase_on_denial else "withdraw_keeps"]
    rights = [words[f"rights_{told.consent}"], f"{words['withdraw']} {erases}", words["more"], words["law"]]
    kept = "\n".join(_filled(text, first="- ", rest="  ") for text in _kept(settings, words))
    return [
        (words["what_heading"], [_filled(text) for text in what]),
        (words["purpose_heading"], [_filled(why)]),
        (words["kept_heading"], [kept]),
        (words["rights_heading"], [_filled(text) for text in rights]),
    ]


def _kept(settings: Settings, words: dict[str, Any]) -> list[str]:
    """What is kept, and for how long."""
    history, personal = settings.history, settings.personal
    kept = [words["no_pictures"]]
    if history.enabled:
        key = "group_readings" if settings.privacy.group_only else "readings"
        kept.append(words[key].format(days=_days(history.days)))
    else:
        kept.append(words["no_readings"])
    if personal.enabled and not settings.privacy.group_only:
        kept.append(words["learning"].format(days=_days(personal.keep_days)))
    else:
        kept.append(words["no_learning"])
    kept.append(words["waiting"].format(days=_days(settings.outbox.max_age_s / DAY_S)))
    return [*kept, words["audit"].format(days=_days(settings.audit.days))]


def _days(days: float) -> str:
    """Whole days where they are whole."""
    return f"{days:g}" if days >= 1 else f"{days:.2g}"


def _filled(text: str, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _words(language: str) -> dict[str, Any]:
    words: dict[str, Any] = yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return words
