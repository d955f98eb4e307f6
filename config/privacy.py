"""Sections about the people who are read: why and on what grounds, what may be told of them, and who may ask for what."""

from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from pydantic import Field

from config.sections import Section

Basis = Literal["consent", "contract", "legal_obligation", "vital_interests", "public_interest", "legitimate_interests"]
"""Legal bases of GDPR, Art. 6(1)(a) to (f)."""
Scheme = Literal[
    "file", "rtsp", "rtsps", "whep+http", "whep+https", "whip", "janus+http", "janus+https", "janus+ws", "janus+wss"
]
SCHEMES: tuple[Scheme, ...] = Scheme.__args__  # type: ignore[attr-defined]
GROUP_ONLY_MINIMUM = 3
"""In a group of two each could tell the other's reading from the sum and their own."""


class PrivacySection(Section):
    """What participants are told (`attuned notice`), and what may leave the process."""

    basis: Basis = "consent"
    """Legal basis of the processing (GDPR, Art. 6(1)); stands beside the purpose in every output."""
    controller: str | None = Field(None, min_length=1, max_length=200)
    """Who is responsible, as participants are to read it."""
    contact: str | None = Field(None, min_length=1, max_length=200)
    """Where participants can ask, object and withdraw: an address, a number, a person."""
    group_only: bool = False
    """Whether only the group is told: no reading of an individual leaves the process, or is kept."""
    group_minimum: int = Field(GROUP_ONLY_MINIMUM, ge=GROUP_ONLY_MINIMUM, le=1000)
    """With `group_only`: faces that must be read for the group to be told."""


class AuditSection(Section):
    """The log of consent, erasure, promotion and access, by pseudonym, in the state folder."""

    days: float = Field(365.0, gt=0, le=3650)
    """Older entries are removed."""
    max_entries: int = Field(100_000, ge=100, le=10_000_000)
    """The oldest are removed beyond this."""


class ApiSection(Section):
    """What whoever may use the API may ask for."""

    schemes: tuple[Scheme, ...] | None = None
    """Kinds of addresses; None: all, but files only while the API is on loopback."""
    networks: tuple[IPv4Network | IPv6Network, ...] | None = None
    """Networks in which a source may be, such as 192.168.1.0/24; None: any but link-local, multicast and the like, and
    loopback only while the API is on loopback."""
    rate_per_s: float = Field(20.0, gt=0, le=10_000)
    """Requests of one address per second, in the long run; beyond it the answer is 429. Health and files are free."""
    burst: int = Field(100, ge=1, le=100_000)
    """And at once."""
