"""A short selection of the faults that `make chaos` does, with shorter outages; the whole of it is done by hand."""

from collections.abc import Iterator
from pathlib import Path

import chaos_faults
import pytest
from chaos_faults import RUNNING, STARTING, Fault, Stage, can_mount, harmful_streams, spoiled, strike, tmpfs
from chaos_rig import Rig, impossible
from rtsp_server import RtspServer, rtsp_servers

from daemon.demo.call import make_script, write_call

pytestmark = pytest.mark.timeout(240)
SCALE = 0.15


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk of its own."""
    if not can_mount():
        pytest.skip("small disks can be made by root only")
    folder = tmp_path_factory.mktemp("disk") / "state"
    with tmpfs(folder, "96m"):
        yield folder


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, disk: Path) -> Iterator[Stage]:
    """One daemon that must live through all of them."""
    folder = tmp_path_factory.mktemp("chaos")
    call = folder / "call.mp4"
    write_call(call, make_script(6))
    with rtsp_servers() as serve:
        server: RtspServer = serve(harmful_streams(folder, call))
        with Rig(folder, server.url("call"), state=disk, seed=1) as rig:
            yield Stage(rig, server, SCALE)


@pytest.mark.parametrize("fault", [fault for fault in RUNNING if fault.short], ids=lambda fault: fault.name)
def test_the_daemon_lives_through_it(stage: Stage, fault: Fault) -> None:
    """Its own promise holds, nothing is lost, there is no traceback and no reading that nobody could have made."""
    outcome = strike(stage, fault)
    assert outcome.holds, f"{fault.promise}: {outcome.found}, recovered in {outcome.recovery_s} s"


@pytest.mark.parametrize("start", [start for start in STARTING if start[3]], ids=lambda start: start[0])
def test_a_daemon_that_cannot_start_says_why(start: tuple, tmp_path: Path) -> None:  # type: ignore[type-arg]
    """One line, and no traceback."""
    if not can_mount():
        pytest.skip("small disks can be made by root only")
    _, promise, do, _ = start
    outcome = do(tmp_path)
    assert outcome.holds, f"{promise}: {outcome.found}"


def reading(**changes: object) -> dict[str, object]:
    """A sound one."""
    sound = {"session": "s", "boot": "b", "participant": "p-00000000", "second": 3, "coverage": 1.0}
    return sound | {"probabilities": {"anger": 0.25, "fear": 0.75}} | changes


@pytest.mark.parametrize(
    ("readings", "n"),
    [
        ([reading(), reading(second=4)], 0),
        ([reading(coverage=0.0, probabilities=None)], 0),
        ([reading(), reading()], 1),
        ([reading(second=4), reading(second=3)], 1),
        ([reading(coverage=0.0)], 1),
        ([reading(probabilities=None)], 1),
        ([reading(probabilities={"anger": 0.5})], 1),
        ([reading(probabilities={"anger": float("nan")})], 1),
        ([reading(coverage=1.2)], 1),
    ],
)
def test_impossible_readings_are_seen(readings: list[dict[str, object]], n: int) -> None:
    """The judge of the whole suite can say no."""
    assert len(impossible(readings)) == n


def test_a_stream_is_spoiled_where_it_may_be() -> None:
    """Headers and start codes are left; the middle third of the pictures is not what it was."""
    picture = b"\0\0\1\x41" + bytes(range(100, 200))
    stream = b"\0\0\1\x67params" + 9 * picture
    harmed = spoiled(stream)
    assert len(harmed) == len(stream)
    assert harmed != stream
    assert harmed.count(b"\0\0\1") == stream.count(b"\0\0\1")
    assert harmed.startswith(b"\0\0\1\x67params" + picture)
    assert harmed.endswith(picture)


def test_a_full_disk_is_full(disk: Path) -> None:
    """The fault is one: not a byte more can be written."""
    chaos_faults.fill(disk / "ballast")
    try:
        with pytest.raises(OSError, match="No space left"):
            (disk / "more").write_bytes(b"0" * 10)
    finally:
        (disk / "ballast").unlink()
        (disk / "more").unlink(missing_ok=True)
