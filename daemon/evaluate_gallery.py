"""`attuned evaluate gallery`: tiles and ids as `analyze` finds them, against the truth of a recording."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from config.settings import Settings
from daemon.assembly import make_follower
from daemon.errors import UnusableInputError
from daemon.sources.file import Recording, Tally, probe, read_frames
from pipeline.tracking import FoundTile, GalleryFigures, Look, TrueLayout, measure_gallery, truth_from_json
from pipeline.types import Frame

HOLD_S = 2.0
"""A picture stands for so long when none follows."""


def evaluate_gallery(
    video: Path, truth: Path, *, settings: Settings, progress: Callable[[float, float], None] = lambda *_: None
) -> GalleryFigures:
    """The figures of a recording; `progress` is told seconds done and seconds in all.

    Raises:
        UnusableInputError: The truth cannot be read, or is not that of this recording.
        SourceError: The recording cannot be read.
    """
    recording = probe(video)
    layouts, size = read_truth(truth)
    if size is not None and size != (recording.width, recording.height):
        msg = (
            f"{truth}: is about pictures of {size[0]}x{size[1]}, {video} has {recording.width}x{recording.height}; "
            "give the truth of this recording"
        )
        raise UnusableInputError(msg)
    tally = Tally()
    rate_hz = settings.analysis.rate_hz
    frames = read_frames(recording, rate_hz=rate_hz, hold_s=HOLD_S, tally=tally)
    return measure_gallery(layouts, list(follow(_told(frames, recording, progress), settings, recording.fingerprint)))


def _told(frames: Iterable[Frame], recording: Recording, progress: Callable[[float, float], None]) -> Iterator[Frame]:
    for frame in frames:
        progress(frame.time_s, recording.duration_s or frame.time_s)
        yield frame


def follow(frames: Iterable[Frame], settings: Settings, seed: str) -> Iterator[Look]:
    """What is found in each frame of one gallery, as a session finds it."""
    with closing(make_follower(settings, seed)) as follower:
        for frame in frames:
            seats = follower.look(frame.image, frame.time_s).seats
            found = (FoundTile(seat.participant, seat.xyxy, certain=seat.certain) for seat in seats)
            yield Look(frame.time_s, tuple(found))


def read_truth(path: Path) -> tuple[tuple[TrueLayout, ...], tuple[int, int] | None]:
    """The layouts of a truth file, and the (width, height) of the pictures where it says so.

    Raises:
        UnusableInputError: It cannot be read, or something in it is missing or wrong.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        layouts = truth_from_json(data)
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); give the truth as JSON"
        raise UnusableInputError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path}: is no text; give the truth as JSON"
        raise UnusableInputError(msg) from error
    except json.JSONDecodeError as error:
        msg = f"{path}:{error.lineno}: is no JSON ({error.msg}); give the truth as JSON"
        raise UnusableInputError(msg) from error
    except RecursionError as error:
        msg = f"{path}: is nested too deeply; give the truth as JSON"
        raise UnusableInputError(msg) from error
    except ValueError as error:
        msg = f"{path}: {error}"
        raise UnusableInputError(msg) from error
    return layouts, _size(path, data.get("size"))


def _size(path: Path, size: object) -> tuple[int, int] | None:
    if size is None:
        return None
    if isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size):  # noqa: PLR2004
        return size[0], size[1]
    msg = f"{path}: size: {size!r} is no [width, height] in pixels"
    raise UnusableInputError(msg)


def format_gallery(figures: GalleryFigures) -> str:
    """The figures as a table."""
    rows = [("", "every second", "2 s after re-flows left out")]
    tiles, settled = asdict(figures.tiles), asdict(figures.settled)
    for key, name in (
        ("recall", "tiles found (recall)"),
        ("precision", "found tiles right (precision)"),
        ("mean_iou", "mean IoU"),
        ("n_seconds", "seconds"),
        ("n_tiles", "tiles with the camera on"),
    ):
        rows.append((name, _cell(tiles[key]), _cell(settled[key])))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{name.ljust(widths[0])}  {every.rjust(widths[1])}  {later.rjust(widths[2])}".rstrip()
        for name, every, later in rows
    ]
    kept = f"{figures.n_kept} of {figures.n_pairs}" if figures.n_pairs else "-"
    longest = max(figures.settle_s, default=None)
    settle = "-" if longest is None else f"{longest:.1f} s at most"
    if figures.n_unsettled:
        settle += f", {figures.n_unsettled} of {len(figures.settle_s)} never"
    lines += [
        f"{'id switches'.ljust(widths[0])}  {figures.id_switches}",
        f"{'ids of more than one person'.ljust(widths[0])}  {figures.n_shared_ids}",
        f"{'re-flows'.ljust(widths[0])}  {figures.n_changes}",
        f"{'ids kept through re-flows'.ljust(widths[0])}  {kept}",
        f"{'settled after re-flows'.ljust(widths[0])}  {settle}",
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:  # noqa: ANN401 (a share, a count or nothing)
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
