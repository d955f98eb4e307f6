"""From a plan to the source that carries it out."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from config import sections
from config.errors import ConfigError
from config.sections import WebRtcSection
from daemon.errors import SourceError
from daemon.secret import RoomPseudonyms
from daemon.security import Guard
from daemon.sessions import Plan
from daemon.sources.file import Recording, probe
from daemon.sources.live import Connection
from daemon.sources.urls import kind_of, path_of, shown

if TYPE_CHECKING:
    from daemon.sources.webrtc import IceSettings


def open_recording(url: str) -> Recording:
    """The recording behind an address.

    Raises:
        SourceError: It cannot be read, or it is a live call.
    """
    if kind_of(url) != "file":
        msg = f"{shown(url)}: is a live call, not a recording; `attuned join` reads it"
        raise SourceError(msg)
    return probe(path_of(url))


def secret(value: SecretStr | None, file: Path | None) -> str | None:
    """A secret as it is set, or from its file.

    Raises:
        SourceError: The file cannot be read.
    """
    try:
        return sections.secret(value, file)
    except ConfigError as error:
        raise SourceError("; ".join(error.mistakes)) from error


def ice_settings(webrtc: WebRtcSection, guard: Guard | None = None) -> "IceSettings":
    """What WebRTC needs of the settings."""
    from daemon.sources.webrtc import IceSettings  # noqa: PLC0415 (aiortc takes half a second to load)

    return IceSettings(
        addresses=tuple(map(str, webrtc.addresses)),
        stun=webrtc.stun,
        turn=webrtc.turn,
        turn_username=webrtc.turn_username,
        turn_password=secret(webrtc.turn_password, webrtc.turn_password_file),
        allows=None if guard is None else guard.allows_text,
    )


def connection_to(plan: Plan, webrtc: WebRtcSection, *, node_secret: bytes) -> Connection:
    """The connection to a live call that the daemon goes out to reach; `whip` ones come in.

    Raises:
        SourceError: The address cannot be used, or a secret cannot be read.
    """
    source, kind, guard = plan.source, kind_of(plan.url), plan.guard
    if kind == "rtsp":
        from daemon.sources.rtsp import RtspConnection  # noqa: PLC0415 (see above, here and below)

        return RtspConnection(
            plan.url,
            transport=source.transport,
            open_timeout_s=source.open_timeout_s,
            read_timeout_s=source.stall_s,
            username=source.username,
            password=secret(source.password, source.password_file),
            verify=source.verify,
            ca_file=source.ca_file,
            guard=guard,
        )
    token = secret(source.token, source.token_file)
    if kind == "whep":
        from daemon.sources.whep import WhepConnection  # noqa: PLC0415

        ice = ice_settings(webrtc, guard)
        return WhepConnection(plan.url, ice=ice, token=token, stall_s=source.stall_s, guard=guard)
    from daemon.sources.janus import JanusConnection  # noqa: PLC0415

    return JanusConnection(
        plan.url,
        ice=ice_settings(webrtc, guard),
        guard=guard,
        display=source.display,
        pin=secret(source.pin, source.pin_file),
        token=token,
        pseudonym=RoomPseudonyms(node_secret, shown(plan.url), plan.participants),
        substream=source.substream,
    )
