"""What keeps strangers out: which addresses the API may send attuned to, and how often it may be asked.

Whoever may ask for a session names a server that attuned then connects to from where it runs (server-side request
forgery). So each address that is connected to is checked, after names are resolved and after redirects: a name that
means something else the second time gains nothing.
"""

import asyncio
import errno
import ipaddress
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from config.privacy import SCHEMES, ApiSection
from config.sections import LOOPBACK
from daemon.errors import SourceError
from daemon.sources.urls import kind_of, shown

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CALLERS_MAX: Final = 4096
"""Addresses whose requests are counted at a time; the one that was quiet longest is forgotten first."""


class ForbiddenAddressError(OSError):
    """An address that the configuration does not allow; an OSError, since it is raised where sockets are opened.

    Which address it is, is not told: that would be a map of this network.
    """

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "is in no network that may be asked for; see api.networks")


def is_forbidden(error: BaseException) -> bool:
    """Whether a connection failed for that reason: libraries wrap it, and keep its number."""
    return isinstance(error, OSError) and error.errno == errno.EACCES


@dataclass(frozen=True, slots=True)
class Guard:
    """Where sessions of the API may lead.

    schemes: kinds of addresses. networks: the only ones; None: any but those that no camera or room is in: unspecified,
    link-local (where clouds keep credentials), multicast, reserved, and loopback unless `loopback`.
    """

    schemes: tuple[str, ...]
    networks: tuple[Network, ...] | None
    loopback: bool

    @classmethod
    def of(cls, api: ApiSection, http_host: str) -> "Guard":
        """As configured; what is not configured depends on whether others than this machine can reach the API."""
        here = http_host in LOOPBACK
        schemes = api.schemes or tuple(scheme for scheme in SCHEMES if here or scheme != "file")
        return cls(schemes, api.networks, here)

    def check_url(self, url: str) -> None:
        """Refuses kinds of addresses, and hosts that are forbidden addresses themselves.

        Raises:
            SourceError: It is not allowed.
        """
        scheme = "file" if kind_of(url) == "file" else url.partition("://")[0].lower()
        if scheme not in self.schemes:
            msg = f"{scheme}: is no kind of address that may be asked for; see api.schemes"
            raise SourceError(msg)
        if scheme in {"file", "whip"}:
            return
        host = urlsplit(f"x://{url.partition('://')[2]}").hostname or ""
        address = _literal(host)
        if address is not None and not self.allows(address):
            msg = f"{shown(url)}: is in no network that may be asked for; see api.networks"
            raise SourceError(msg)

    def allows(self, address: Address) -> bool:
        """Whether this address may be connected to."""
        mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
        address = mapped or address
        if self.networks is not None:
            return any(address in network for network in self.networks)
        if address.is_loopback:
            return self.loopback
        if address.version == _THIS_NETWORK.version and address in _THIS_NETWORK:
            return False
        is_odd = address.is_unspecified or address.is_link_local or address.is_multicast or address.is_reserved
        return not is_odd and address not in _METADATA

    def check_address(self, text: str) -> None:
        """Refuses an address that is about to be connected to.

        Raises:
            ForbiddenAddressError: It is not allowed.
        """
        if not self.allows(ipaddress.ip_address(text.partition("%")[0])):
            raise ForbiddenAddressError

    def allows_text(self, text: str) -> bool:
        """Whether an address that somebody wrote may be connected to; a name may not, for it might mean any."""
        address = _literal(text)
        return address is not None and self.allows(address)

    def connector(self) -> aiohttp.TCPConnector:
        """Opens HTTP connections to allowed addresses only, whatever a name or a redirect says."""
        return aiohttp.TCPConnector(socket_factory=self._socket)

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        self.check_address(str(address[0]))
        return socket.socket(family, kind, protocol)

    async def resolve(self, host: str, port: int) -> str:
        """The first address of a host, for programs that open connections by themselves.

        Raises:
            ForbiddenAddressError: One of its addresses is not allowed.
            OSError: There is no such host.
        """
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for _, _, _, _, address in found:
            self.check_address(str(address[0]))
        return str(found[0][4][0])


_THIS_NETWORK: Final = ipaddress.ip_network("0.0.0.0/8")
_METADATA: Final = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254", "192.0.0.192")))
"""Where clouds keep credentials beside the link-local networks."""


def _literal(host: str) -> Address | None:
    """The address that a host is written as; also in the old ways, such as 0x7f.1 or 2130706433."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host)) if host and host[0].isdigit() else None
    except OSError:
        return None


class RateLimit:
    """How often each caller may ask: `burst` at once, `rate_per_s` in the long run (a token bucket each).

    Args:
        rate_per_s: Tokens that come back per second.
        burst: Tokens at most.
        now: A clock that never goes back.
    """

    def __init__(self, *, rate_per_s: float, burst: int, now: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._now = rate_per_s, burst, now
        self._left: dict[str, tuple[float, float]] = {}
        self.n_refused = 0

    def takes(self, caller: str, cost: float = 1.0) -> bool:
        """Whether this caller may ask now; what is refused costs nothing."""
        now = self._now()
        left, then = self._left.pop(caller, (float(self._burst), now))
        left = min(float(self._burst), left + (now - then) * self._rate)
        may = left >= cost
        self._left[caller] = (left - cost if may else left, now)
        if len(self._left) > CALLERS_MAX:
            del self._left[next(iter(self._left))]
        self.n_refused += not may
        return may
