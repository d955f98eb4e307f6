"""The node's secret, and the pseudonyms that are made with it."""

import hmac
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes

from daemon.errors import UnusableInputError

SECRET_BYTES = 32


def node_secret(folder: Path) -> bytes:
    """The secret of the state folder, made on first use and readable by its owner only.

    Raises:
        UnusableInputError: It cannot be read or written, or something else lies there.
    """
    path = folder / "secret"
    try:
        if not path.exists():
            part = path.with_suffix(".part")
            part.unlink(missing_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(token_bytes(SECRET_BYTES))
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        secret = path.read_bytes()
    except OSError as error:
        msg = f"{path}: cannot be used ({error.strerror}); set state_dir to a folder that can"
        raise UnusableInputError(msg) from error
    if len(secret) != SECRET_BYTES:
        msg = f"{path}: expected {SECRET_BYTES} bytes, found {len(secret)}; move it away, and everybody gets a new pseudonym"
        raise UnusableInputError(msg)
    return secret


class RoomPseudonyms:
    """Makes the pseudonyms of a room's people: HMAC of the room's id for them under the node's secret.

    Args:
        secret: `node_secret`.
        room: What tells this room from others, such as server and number.
        known: Pseudonyms by name in the room, as they are configured. A name is what its owner says it is: where
            anybody may join, anybody may take it.
    """

    def __init__(self, secret: bytes, room: str, known: Mapping[str, str]) -> None:
        self._secret = secret
        self._room = room
        self._known = known
        self._holders: dict[str, str] = {}

    def __call__(self, person: str, name: str | None) -> str:
        """The pseudonym of whom the room calls `person`; a configured one belongs to the first who bears the name."""
        known = self._known.get(name or "")
        if known is not None and self._holders.setdefault(known, person) == person:
            return known
        return "p-" + hmac.new(self._secret, f"{self._room}:{person}".encode(), sha256).hexdigest()[:8]

    def left(self, person: str) -> None:
        """Whoever comes next under that name may have the pseudonym."""
        self._holders = {known: holder for known, holder in self._holders.items() if holder != person}
