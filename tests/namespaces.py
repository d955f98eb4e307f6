"""Two network namespaces joined by a cable, for tests that need machines of their own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SFU_ADDRESS = "10.203.0.1"
BOT_ADDRESS = "10.203.0.2"
OTHER_ADDRESSES = ("10.203.1.1", "10.203.1.2")
"""Each machine has one more, which is not to be used where the settings say so."""
PREFIX_LENGTH = 24

# Prints who sent UDP and TCP to whom, once its input ends.
_SNIFFER = """
import json, select, socket, sys
packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
print("ready", flush=True)
seen = set()
while True:
    ready, _, _ = select.select([packets, sys.stdin], [], [])
    if packets in ready:
        data, (_, protocol, kind, *_) = packets.recvfrom(2048)
        if protocol == 0x0800 and kind == socket.PACKET_OUTGOING:
            seen.add((socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])))
        elif protocol == 0x86DD and kind == socket.PACKET_OUTGOING and data[6] in (6, 17):
            seen.add((socket.inet_ntop(socket.AF_INET6, data[8:24]), socket.inet_ntop(socket.AF_INET6, data[24:40])))
    if sys.stdin in ready:
        break
print(json.dumps(sorted(seen)))
"""

# Runs beside the tests until they close the pipe or die, whichever way; then everything in the namespaces goes.
_GUARD = """
read -r _
for name in "$@"; do
  while pids=$(ip netns pids "$name") && [ -n "$pids" ]; do kill -9 $pids; sleep 0.05; done
  ip netns del "$name"
done
"""


@dataclass(frozen=True)
class Namespaces:
    """Names and addresses: a server and callers live in `sfu`, the bot in `bot`."""

    sfu: str
    bot: str
    sfu_address: str = SFU_ADDRESS
    bot_address: str = BOT_ADDRESS


def inside(namespace: str, *command: str) -> list[str]:
    """The command line that runs it in this namespace."""
    return ["ip", "netns", "exec", namespace, *command]


def python(namespace: str, script: Path, *arguments: str) -> list[str]:
    """The command line that runs one of our scripts in this namespace."""
    return inside(namespace, sys.executable, str(script), *arguments)


@contextmanager
def sniffed(namespace: str) -> Iterator[set[tuple[str, str]]]:
    """Pairs of addresses between which packets left this namespace; filled when the context ends."""
    seen: set[tuple[str, str]] = set()
    command = inside(namespace, sys.executable, "-c", _SNIFFER)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield seen
        finally:
            out, _ = process.communicate(timeout=10)
            seen.update((source, target) for source, target in json.loads(out))


def require(programs: Sequence[str]) -> None:
    """Skips where a program or the rights to make namespaces are missing; in CI it fails."""
    missing = [program for program in programs if shutil.which(program) is None]
    if os.geteuid() != 0:
        missing.append("root (namespaces need it)")
    if missing:
        text = f"missing: {', '.join(missing)}; apt-get install janus chromium iproute2, and run as root"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)


@contextmanager
def made() -> Iterator[Namespaces]:
    """Two namespaces; they and whatever runs in them are gone afterwards, even when this process is killed."""
    mine = f"attuned-{os.getpid()}"
    names = Namespaces(f"{mine}-sfu", f"{mine}-bot")
    command = ["sh", "-c", _GUARD, "guard", names.sfu, names.bot]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        _build(names, f"v{os.getpid()}")
        yield names
    finally:
        guard.communicate(timeout=20)


@pytest.fixture(scope="module", name="namespaces")
def fixture_namespaces() -> Iterator[Namespaces]:
    """Two machines on one cable, shared by the tests of a module."""
    require(["ip"])
    with made() as names:
        yield names


def _build(names: Namespaces, cable: str) -> None:
    ends = {names.sfu: (f"{cable}s", names.sfu_address), names.bot: (f"{cable}b", names.bot_address)}
    for name in ends:
        _ip("netns", "add", name)
    (sfu, (sfu_end, _)), (bot, (bot_end, _)) = ends.items()
    _ip("-n", sfu, "link", "add", sfu_end, "type", "veth", "peer", "name", bot_end, "netns", bot)
    for (name, (end, address)), other in zip(ends.items(), OTHER_ADDRESSES, strict=True):
        for own in (address, other):
            _ip("-n", name, "address", "add", f"{own}/{PREFIX_LENGTH}", "dev", end)
        _ip("-n", name, "link", "set", end, "up")
        _ip("-n", name, "link", "set", "lo", "up")


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr.strip()}"
