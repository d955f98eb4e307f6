"""Commands about the people who are read: `notice`, `forget`, `audit`."""

import asyncio
import json
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from config.sections import LOOPBACK, PSEUDONYM, Consent, Purpose, check_purpose, secret
from daemon.commands import ConfigOption, JsonOption, fail, one_line_errors, settings_from
from daemon.errors import FailedError, UnusableInputError

if TYPE_CHECKING:
    from config.settings import Settings
    from daemon.erasure import Erasure

people_app = typer.Typer()
API_S = 120.0
"""How long a running daemon may take to erase somebody."""
SENT_S = 10.0


@people_app.command("notice")
@one_line_errors
def print_notice(
    lang: Annotated[str, typer.Option(help="Language: en, de, fr, it or es.")] = "en",
    purpose: Annotated[str | None, typer.Option(help="Why; default: what the configured sessions say.")] = None,
    consent: Annotated[
        str | None, typer.Option(help="`required` or `declared`; default: what the configured sessions say.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Print the notice for participants: why they are read, what is kept, whom to ask, and how to say no."""
    from daemon.notice import notice, told_of

    settings = settings_from(config)
    try:
        check_purpose(purpose)
    except ValueError as error:
        raise UnusableInputError(str(error)) from error
    for option, value, known in (("purpose", purpose, get_args(Purpose)), ("consent", consent, get_args(Consent))):
        if value is not None and value not in known:
            msg = f"--{option} {value}: give one of {', '.join(known)}"
            raise UnusableInputError(msg)
    told = told_of(settings, cast("Purpose | None", purpose), cast("Consent | None", consent))
    print(notice(settings, lang, told), end="")


@people_app.command()
@one_line_errors
def forget(
    participant: Annotated[str, typer.Argument(help="Who is to be erased, such as p-3f2a91c0.")],
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="Folders of `analyze` or `compare` that were moved.", readable=False),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase a person from everything that this machine keeps; this cannot be undone.

    Samples, heads, history, messages that wait, retained topics, and the folders of `analyze` that are remembered. Says
    what it cannot reach, such as exports. While a daemon runs it is asked to do it.
    """
    from daemon.state import locked, state_folder

    if not re.fullmatch(PSEUDONYM, participant):
        # What it is, is not repeated: it might be somebody's name.
        msg = "a participant is `p-` and eight hexadecimal digits, such as p-3f2a91c0"
        raise UnusableInputError(msg)
    settings = settings_from(config)
    more = folders or []
    missing = [folder for folder in more if not folder.is_dir()]
    if missing:
        msg = f"{missing[0]}: is no folder"
        raise UnusableInputError(msg)
    try:
        with locked(state_folder(settings)):
            told = _erased_here(settings, participant, more).told()
    except UnusableInputError as error:
        if "another attuned" not in str(error):
            raise
        told = _erased_there(settings, participant, more)
    print(json.dumps(told) if as_json else _format(told))
    if told["failed"]:
        fail(f"{participant}: not all of it could be erased; mend what is said above and try again", 1)


def _erased_here(settings: "Settings", participant: str, more: list[Path]) -> "Erasure":
    """While no daemon runs."""
    from daemon.custody import audit_file
    from daemon.erasure import erase_offline, forget_topics
    from daemon.state import state_folder

    state = state_folder(settings)
    done, topics = erase_offline(state, participant, more=more)
    if topics:
        problem = asyncio.run(_cleared(settings, topics)) if settings.mqtt.broker == "external" else None
        if problem is None:
            forget_topics(state, topics)
            done.count("retained topics", len(topics))
        else:
            done.later.append(f"{len(topics)} retained topics: when attuned runs again ({problem})")
    log = audit_file(settings, state)
    log.add("erasure", who="command", participant=participant, removed=dict(done.removed))
    log.forget(participant)
    return done


async def _cleared(settings: "Settings", topics: list[str]) -> str | None:
    """Takes retained topics from an external broker; what is wrong, or None."""
    import aiomqtt

    from daemon.assembly import make_tls

    mqtt = settings.mqtt
    client = aiomqtt.Client(
        mqtt.host,
        mqtt.port,
        username=mqtt.username,
        password=secret(mqtt.password, mqtt.password_file),
        tls_context=make_tls(settings),
        timeout=SENT_S,
    )
    try:
        async with client:
            for topic in topics:
                await client.publish(topic, b"", qos=1, retain=True)
    except aiomqtt.MqttError as error:
        return " ".join(str(error).split()) or "the broker is not there"
    return None


def _erased_there(settings: "Settings", participant: str, more: list[Path]) -> dict[str, Any]:
    """By the daemon that runs, and by hand where it knows nothing of a folder."""
    from daemon.erasure import Erasure, erase_folders

    http = settings.http
    host = http.host if http.host in LOOPBACK or http.host not in {"0.0.0.0", "::"} else "127.0.0.1"  # noqa: S104 (compared)
    host = f"[{host}]" if ":" in host else host
    token = secret(http.token, http.token_file)
    request = urllib.request.Request(
        f"http://{host}:{http.port}/api/v1/participants/{participant}/data",
        method="DELETE",
        headers={} if token is None else {"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=API_S) as answer:  # noqa: S310
            told: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        told = json.load(error)
        if "removed" not in told:
            msg = f"the attuned that runs refuses: {told.get('error', error.code)}"
            raise FailedError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"an attuned is running and does not answer at http.port {http.port} ({error}); stop it and try again"
        raise FailedError(msg) from error
    here = Erasure(participant)
    erase_folders(more, participant, here)
    for what, n in here.removed.items():
        told["removed"][what] = told["removed"].get(what, 0) + n
    told["erased"] = told["erased"] or here.is_any
    return told | {key: [*told[key], *getattr(here, key)] for key in ("later", "unreachable", "failed")}


def _format(told: dict[str, Any]) -> str:
    """What came of it, for people."""
    removed = ", ".join(f"{what}: {n}" for what, n in told["removed"].items())
    lines = [f"{told['id']}: {f'erased ({removed})' if told['erased'] else 'nothing was kept here'}"]
    if told["removed"].get("folders"):
        lines.append("reports went with their pictures; `attuned report DIR` makes them again from what is left")
    for key, lead in (("later", "goes later"), ("unreachable", "out of reach"), ("failed", "FAILED")):
        lines += [f"{lead}: {line}" for line in told[key]]
    return "\n".join(lines)


@people_app.command()
@one_line_errors
def audit(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show who agreed, who was erased, which heads were promoted and who asked for what; check that nothing was changed."""
    from daemon.audit import check, entries
    from daemon.state import state_folder

    state = state_folder(settings_from(config))
    checked = check(state)
    if as_json:
        chain = {"n": checked.n, "last": checked.last, "mistake": checked.mistake}
        print(json.dumps({"chain": chain, "entries": list(entries(state))}, ensure_ascii=False))
    else:
        for entry in entries(state):
            known = {
                key: value for key, value in entry.items() if key not in {"n", "ts", "what", "who", "prev", "subject"}
            }
            about = " ".join(f"{key}={value}" for key, value in known.items())
            if "subject" in entry and "participant" not in entry:
                about += f" of {entry['subject']}"
            print(f"{entry['ts']}  {entry['what']:<16} by {entry['who']:<8} {about.strip()}")
        print(f"{checked.n} entries; hash of the last: {checked.last}", file=sys.stderr)
    if checked.mistake is not None:
        fail(f"the log was changed: {checked.mistake}", 1)
