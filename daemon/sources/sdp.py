"""What is offered to us in SDP, put into words that aiortc understands, and its answers put back.

aiortc negotiates VP8 and H.264 constrained baseline in packetization mode 1 by exact match, raises on m-lines that
have no codec of its own, and reads transport attributes only where it looks for them. What it decodes is more: FFmpeg
reads every 8-bit 4:2:0 profile and both modes. So it is shown our own transcript of what the peer says (RFC 8866,
RFC 8829, RFC 8843), with an inactive placeholder for everything that is not to be read; every m-line keeps its place.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from daemon.errors import SourceError

READS = "VP8 and H.264 (baseline, main and high profile)"
CANNOT = f"""\
WebRTC reads {READS}; not VP9, AV1 or H.265: set the sender's codec to VP8 or H.264. \
Of a simulcast it reads what the server picks, and after an ICE restart it connects anew."""

_H264_READ = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
_H264_PROFILES = ("42", "4d", "64")
"""profile_idc of baseline, main and high."""
_TRANSPORT = ("ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup", "candidate", "end-of-candidates")
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_HELPERS = {"RTX", "RED", "ULPFEC", "FLEXFEC-03"}
"""Formats of video sections that are no video."""
_SECTIONS_MAX = 64
_CANDIDATE = re.compile(r"^\S+ [0-9]+ \S+ [0-9]+ \S+ [0-9]{1,5} typ \S+( \S+ \S+)*$")
_SSRC = re.compile(r"^[0-9]+ [a-z]+:.*$")


@dataclass(frozen=True, slots=True)
class Section:
    """An m-line and its attributes; `mid` is its place where it has none."""

    index: int
    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]
    mid: str

    def values(self, name: str) -> list[str]:
        """The values of an attribute."""
        return [value for key, value in self.attributes if key == name]

    def by_format(self, name: str) -> dict[str, str]:
        """The values of `rtpmap` or `fmtp` by payload type."""
        return {key: value for key, _, value in (line.partition(" ") for line in self.values(name))}

    @property
    def is_open(self) -> bool:
        """Whether it is not rejected; port 0 with bundle-only is none of its own (RFC 8843 section 6)."""
        return self.port != 0 or bool(self.values("bundle-only"))

    @property
    def is_sent(self) -> bool:
        """Whether the peer sends here."""
        direction = next((key for key, _ in self.attributes if key in _DIRECTIONS), "sendrecv")
        return self.is_open and direction in {"sendrecv", "sendonly"}

    @property
    def is_quiet_audio(self) -> bool:
        """Whether it can be taken into a bundle without being listened to."""
        return self.kind == "audio" and self.is_open

    def codec_names(self) -> dict[str, str]:
        """The codec of every payload type, such as `VP9`; H.264 with its profile where that is not read."""
        parameters = self.by_format("fmtp")
        names = {}
        for payload, codec in self.by_format("rtpmap").items():
            name = codec.partition("/")[0].upper()
            if name == "H264":
                profile = _parameter(parameters.get(payload, ""), "profile-level-id", "42e01f")
                name = "H.264" if profile[:2].lower() in _H264_PROFILES else f"H.264 profile {profile}"
            names[payload] = name
        return names

    def readable(self) -> list[str]:
        """Payload types that can be read, in the order of the peer's preference."""
        names = self.codec_names()
        read = [p for p in self.formats if names.get(p) in {"VP8", "H.264"} and p.isdigit()]
        return read if self.kind == "video" else []


@dataclass(frozen=True, slots=True)
class Description:
    """An offer or an answer.

    Raises:
        SourceError: By `parse`, where it is none.
    """

    attributes: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]

    @classmethod
    def parse(cls, sdp: str) -> "Description":
        """Reads the lines; what they mean is not checked."""
        lines = sdp.replace("\r\n", "\n").split("\n")
        blocks: list[list[str]] = [[]]
        for line in lines:
            if line.startswith("m="):
                blocks.append([])
            blocks[-1].append(line.strip())
        if not lines[0].startswith("v=0") or not 1 < len(blocks) <= _SECTIONS_MAX + 1:
            msg = "the peer's SDP cannot be read; it must begin with v=0 and have an m-line"
            raise SourceError(msg)
        return cls(_attributes(blocks[0]), tuple(_section(i, block) for i, block in enumerate(blocks[1:])))

    @property
    def bundle(self) -> tuple[str, ...] | None:
        """The mids that share a transport; None where they are not said to."""
        groups = [value.split() for key, value in self.attributes if key == "group"]
        return next((tuple(group[1:]) for group in groups if group[:1] == ["BUNDLE"]), None)

    def read_sections(self) -> tuple[Section, ...]:
        """The sections that are to be read: sent video in a codec that we read, on one transport."""
        found = tuple(s for s in self.sections if s.is_sent and s.readable())
        bundle = self.bundle
        if bundle is None:
            return found[:1]
        return tuple(s for s in found if s.mid in bundle) or found[:1]

    def ice(self) -> set[str]:
        """All user fragments and passwords of ICE."""
        attributes = [*self.attributes, *(a for s in self.sections for a in s.attributes)]
        return {value for key, value in attributes if key in {"ice-ufrag", "ice-pwd"}}

    def transport(self) -> list[str]:
        """The lines that say how to reach the peer: of the section that carries them for all that are read."""
        read, bundled = self.read_sections(), [s for s in self.sections if s.mid in (self.bundle or ())]
        carriers = [*read[:1], *bundled, *self.sections][:1]
        if bundled and carriers[0] in bundled:
            # The first that the answer accepts stands for all; a peer may have left the attributes out of the others.
            carriers = [*(s for s in bundled if s in read or s.is_quiet_audio), *carriers, *bundled]
        lines = []
        for name in _TRANSPORT:
            places = [*(c.values(name) for c in carriers), [v for k, v in self.attributes if k == name]]
            values = next((values for values in places if values), [])
            lines += [f"a={name}:{value}" if value else f"a={name}" for value in values if _is_sound(name, value)]
        return lines


@dataclass(frozen=True, slots=True)
class Fragment:
    """Candidates that follow an offer (RFC 8840 section 9); "" among them: no more come.

    ice: user fragment and password where they are given, in this order.
    """

    candidates: tuple[str, ...]
    ice: tuple[str, ...]

    @classmethod
    def parse(cls, fragment: str) -> "Fragment":
        """Candidates that cannot be read are left out, as the peer may know kinds that we do not.

        Raises:
            SourceError: It says nothing of ICE.
        """
        attributes = _attributes(line.strip() for line in fragment.replace("\r\n", "\n").split("\n"))
        candidates = [value for key, value in attributes if key == "candidate" and _is_sound(key, value)]
        is_last = any(key == "end-of-candidates" for key, _ in attributes)
        ice = [value for name in ("ice-ufrag", "ice-pwd") for key, value in attributes if key == name][:2]
        if not any(key in _TRANSPORT for key, _ in attributes):
            msg = "the fragment has neither candidates nor ICE parameters; see RFC 8840"
            raise SourceError(msg)
        return cls((*candidates, *([""] if is_last else ())), tuple(ice))


def unreadable(sdp: str) -> str | None:
    """Why nothing can be read from this offer or answer, and what to do; None where something can.

    Raises:
        SourceError: It is no SDP.
    """
    description = Description.parse(sdp)
    if description.read_sections():
        return None
    sent = [s for s in description.sections if s.kind == "video" and s.is_sent]
    if not sent:
        return "there is no video track; share a picture, or check that the stream has one"
    names = {re.sub(r"[^\w. -]", "", name)[:24] for s in sent for name in s.codec_names().values()} - _HELPERS
    found = ", ".join(sorted(names)[:4]) or "an unknown codec"
    return f"the video comes as {found}, and attuned reads {READS}; set the sender's codec to VP8 or H.264"


def transcript(description: Description) -> str:
    """The description as aiortc takes it: what is read, placeholders for the rest, one transport for all."""
    read, transport = description.read_sections(), description.transport()
    is_lite = [key for key, _ in description.attributes if key == "ice-lite"]
    mids = " ".join(s.mid for s in description.sections)
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", f"a=group:BUNDLE {mids}", "a=msid-semantic:WMS *"]
    lines += ["a=ice-lite"] if is_lite else []
    for section in description.sections:
        lines += _transcript_read(section) if section in read else _placeholder()
        lines += [f"a=mid:{section.mid}", "a=rtcp-mux", *transport]
    return _text(lines)


def answer_for(description: Description, answer: str) -> str:
    """Aiortc's answer to the transcript as the answer to what was really offered.

    What is not read is rejected, except bundled audio: it is inactive, so that a bundle whose transport stands in its
    first m-line, which is the audio's as a rule, holds.
    """
    read, bundle = description.read_sections(), description.bundle or ()
    ours = Description.parse(answer)
    accepted = []
    body: list[str] = []
    for section, own in zip(description.sections, ours.sections, strict=True):
        if section in read:
            accepted.append(section.mid)
            body += _answer_read(section, own)
        elif section.is_quiet_audio and section.mid in bundle:
            accepted.append(section.mid)
            body += _answer_inactive(section, own)
        else:
            body += [f"m={section.kind} 0 {section.protocol} {' '.join(section.formats)}", "c=IN IP4 0.0.0.0"]
            body += ["a=inactive", f"a=mid:{section.mid}"]
    head = [line for line in answer.replace("\r\n", "\n").split("\nm=")[0].split("\n") if line]
    head = [line for line in head if not line.startswith("a=group:")]
    if description.bundle is not None:
        head.append(f"a=group:BUNDLE {' '.join(accepted)}")
    return _text(head + body)


def _transcript_read(section: Section) -> list[str]:
    """The codecs that we read, their retransmission, and where the packets come from."""
    payloads, names, parameters = section.readable(), section.codec_names(), section.by_format("fmtp")
    for payload in section.formats:
        if names.get(payload) == "RTX" and _parameter(parameters.get(payload, ""), "apt", "") in payloads:
            payloads.append(payload)
    clock = section.by_format("rtpmap")
    lines = [f"m=video 9 UDP/TLS/RTP/SAVPF {' '.join(payloads)}", "c=IN IP4 0.0.0.0", "a=sendonly"]
    for payload in payloads:
        lines.append(f"a=rtpmap:{payload} {clock[payload]}")
        lines += [f"a=rtcp-fb:{v}" for v in section.values("rtcp-fb") if v.split(" ")[0] in {payload, "*"}]
        if names[payload] == "H.264":
            lines.append(f"a=fmtp:{payload} {_H264_READ}")
        elif names[payload] == "RTX":
            lines.append(f"a=fmtp:{payload} apt={_parameter(parameters[payload], 'apt', '')}")
    extensions = [v.split()[:2] for v in section.values("extmap") if len(v.split()) > 1]
    lines += [f"a=extmap:{number.partition('/')[0]} {uri}" for number, uri in extensions]
    lines += [f"a=msid:{v}" for v in section.values("msid")[:1]]
    return lines + [f"a=ssrc:{v}" for v in section.values("ssrc") if _SSRC.match(v)]


def _placeholder() -> list[str]:
    """Keeps the place of what is not read."""
    return ["m=video 9 UDP/TLS/RTP/SAVPF 127", "c=IN IP4 0.0.0.0", "a=inactive", "a=rtpmap:127 VP8/90000"]


def _answer_read(section: Section, own: Section) -> list[str]:
    """Aiortc's section, with the parameters that the peer gave its payload types."""
    offered = section.by_format("fmtp")
    lines = [f"m=video {own.port} {section.protocol} {' '.join(own.formats)}", "c=IN IP4 0.0.0.0"]
    for key, value in own.attributes:
        payload = value.partition(" ")[0]
        if key != "fmtp":
            lines.append(_line(key, value))
        elif payload in offered:
            lines.append(f"a=fmtp:{payload} {offered[payload]}")
    return lines


def _answer_inactive(section: Section, own: Section) -> list[str]:
    """A section that is part of the bundle and carries nothing."""
    lines = [f"m={section.kind} {own.port} {section.protocol} {' '.join(section.formats)}", "c=IN IP4 0.0.0.0"]
    lines += ["a=inactive", f"a=mid:{section.mid}", "a=rtcp-mux"]
    lines += [_line(key, value) for key, value in section.attributes if key in {"rtpmap", "fmtp"}]
    return lines + [_line(key, value) for key, value in own.attributes if key in _TRANSPORT]


def _attributes(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    pairs = (line[2:].partition(":") for line in lines if line.startswith("a="))
    return tuple((key, value.strip()) for key, _, value in pairs)


def _section(index: int, block: list[str]) -> Section:
    match = re.match(r"^m=(\S+) ([0-9]{1,5})(?:/[0-9]+)? (\S+) (.+)$", block[0])
    if match is None:
        msg = "the peer's SDP cannot be read; an m-line needs a kind, a port, a protocol and formats"
        raise SourceError(msg)
    kind, port, protocol, formats = match.groups()
    attributes = _attributes(block[1:])
    mid = next((value for key, value in attributes if key == "mid"), str(index))
    return Section(index, kind, int(port), protocol, tuple(formats.split()), attributes, mid)


def _is_sound(name: str, value: str) -> bool:
    """Whether aiortc can parse it."""
    if name == "candidate":
        return _CANDIDATE.match(value) is not None
    if name == "setup":
        return value in {"active", "passive", "actpass"}
    return name != "fingerprint" or len(value.split()) == 2  # noqa: PLR2004 (algorithm and digest)


def _parameter(parameters: str, name: str, default: str) -> str:
    pairs = (pair.strip().partition("=") for pair in parameters.split(";"))
    return next((value for key, _, value in pairs if key.lower() == name), default)


def _line(key: str, value: str) -> str:
    return f"a={key}:{value}" if value else f"a={key}"


def _text(lines: Iterable[str]) -> str:
    return "\r\n".join(lines) + "\r\n"
