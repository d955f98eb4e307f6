"""Tiles and ids in random galleries with known truth: `.venv/bin/python benchmarks/gallery.py`.

Draws `--scripts` meetings from seeds, lets the splitter and the identities watch each from its beginning, and prints
recall, precision, mean IoU, ids kept, seconds to settle, and the seeds of the worst. Look at those with
`--first SEED --scripts 1 --save DIR`: found tiles are drawn in red, those of the truth in green.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from config.settings import Settings
from daemon.demo.cast import Cast, ClipsCast, PuppetCast, StillsCast
from daemon.demo.gallery import GalleryScript, make_gallery
from daemon.demo.stage import pictures, write_gallery
from daemon.evaluate_gallery import follow
from daemon.sources.file import Tally, probe, read_frames
from pipeline.identity import TileIdentity
from pipeline.tracking import FoundTile, GalleryFigures, Look, measure_gallery, truth_from_json
from pipeline.types import Box, Frame

SIZES = ((1280, 720), (1280, 720), (1280, 720), (1920, 1080), (960, 540), (854, 480), (640, 360))
FPS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One script and what came of it."""

    seed: int
    script: GalleryScript
    figures: GalleryFigures

    @property
    def faults(self) -> float:
        """What puts it among the worst: missed, false and switched, and re-flows that never settled."""
        tiles = self.figures.tiles
        missed = 1 - (1 if tiles.recall is None else tiles.recall)
        false = 1 - (1 if tiles.precision is None else tiles.precision)
        return missed + false + (self.figures.id_switches + self.figures.n_unsettled) / max(1, len(self.script.people))


def main() -> None:
    """Runs as the command line says; the figures go to stdout, progress to stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scripts", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first script")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--people", type=int, help="at the start; default: drawn, 1 to 49")
    parser.add_argument("--cast", nargs="+", default=["puppets"], help="puppets, stills DIR, or clips DIR")
    parser.add_argument("--compress", type=int, metavar="CRF", help="as H.264 with this rate factor, such as 25")
    parser.add_argument("--true-tiles", action="store_true", help="give the tiles; only the ids are found")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--rooms", action="store_true", help="two people before some of the cameras, at most six tiles")
    parser.add_argument("--still", action="store_true", help="one layout each, no re-flows")
    parser.add_argument("--save", type=Path, metavar="DIR", help="pictures with boxes, one a second that is not right")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures, and those of every script")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.scripts)
    runs: list[Run] = []
    began = time.perf_counter()
    for number, run in enumerate(_runs(seeds, options), 1):
        runs.append(run)
        script, figures = run.script, run.figures
        figure = figures.as_json()
        print(
            f"{number}/{options.scripts} {time.perf_counter() - began:.0f} s: seed {run.seed} {_about(script)}: "
            f"recall {_text(figure['recall'])} precision {_text(figure['precision'])} iou {_text(figure['mean_iou'])} "
            f"switches {figure['id_switches']} kept {_text(figure['ids_kept'])} settle {_text(figure['settle_s_max'])}",
            flush=True,
        )
    totals = total(runs)
    print(json.dumps(totals, indent=1))
    print("worst:")
    for run in sorted(runs, key=lambda run: -run.faults)[:15]:
        if run.faults > 0:
            print(f"  seed {run.seed} {_about(run.script)}: {run.figures.as_json()}")
    if options.json:
        every = {run.seed: {"about": _about(run.script), **run.figures.as_json()} for run in runs}
        options.json.write_text(json.dumps({"all": totals, "scripts": every}, indent=1), encoding="utf-8")


def total(runs: Sequence[Run]) -> dict[str, Any]:
    """The figures of all scripts together; every tile, change and pair counts the same."""
    together: dict[str, Any] = {}
    for key in ("tiles", "settled"):
        parts = [getattr(run.figures, key) for run in runs]
        n_tiles = sum(part.n_tiles for part in parts)
        n_right, n_found = sum(part.n_right for part in parts), sum(part.n_found for part in parts)
        together[key] = {
            "recall": n_right / n_tiles if n_tiles else None,
            "precision": n_right / n_found if n_found else None,
            "mean_iou": sum((part.mean_iou or 0) * part.n_tiles for part in parts) / n_tiles if n_tiles else None,
            "n_seconds": sum(part.n_seconds for part in parts),
            "n_tiles": n_tiles,
        }
    settle = [second for run in runs for second in run.figures.settle_s]
    n_pairs = sum(run.figures.n_pairs for run in runs)
    return {
        "n_scripts": len(runs),
        **together,
        "scripts_all_right": sum(run.faults == 0 for run in runs),
        "id_switches": sum(run.figures.id_switches for run in runs),
        "n_shared_ids": sum(run.figures.n_shared_ids for run in runs),
        "n_pairs": n_pairs,
        "ids_kept": sum(run.figures.n_kept for run in runs) / n_pairs if n_pairs else None,
        "n_changes": sum(run.figures.n_changes for run in runs),
        "n_unsettled": sum(run.figures.n_unsettled for run in runs),
        "settle_s_median": float(np.median(settle)) if settle else None,
        "settled_in_2_s": float(np.mean(np.array(settle) <= 2)) if settle else None,  # noqa: PLR2004 (seconds that are allowed)
        "settle_s_max": max(settle, default=None),
    }


def _runs(seeds: Sequence[int], options: argparse.Namespace) -> Iterator[Run]:
    """Every script and its figures, in the order of the seeds."""
    one = partial(_run, options=options)
    if options.jobs == 1:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(one, seeds)


def _script(seed: int, options: argparse.Namespace, cast: Cast) -> GalleryScript:
    size = SIZES[int(np.random.default_rng((seed, 28)).integers(len(SIZES)))]
    draw = partial(make_gallery, seed, seconds=options.seconds, size=size, fps=FPS, reflows=not options.still)
    draw = partial(draw, rooms=options.rooms)
    script, n = draw(people=options.people), cast.people
    while script.n_faces > cast.people and n > 1:  # nobody sits there twice
        n -= 1
        script = draw(people=n)
    return script


@cache
def _cast(*words: str) -> Cast:
    """The cast, once for all scripts of a process."""
    match words:
        case ["puppets"]:
            return PuppetCast()
        case ["stills", folder]:
            return StillsCast(Path(folder))
        case ["clips", folder]:
            return ClipsCast(Path(folder))
    message = "--cast: puppets, stills DIR, or clips DIR"
    raise SystemExit(message)


def _run(seed: int, options: argparse.Namespace) -> Run:
    cast = _cast(*options.cast)
    script = _script(seed, options, cast)
    truth = truth_from_json(script.truth())
    with tempfile.TemporaryDirectory() as folder:
        frames = _frames(script, cast, options.compress, Path(folder) / "gallery.mp4")
        kept: dict[float, Frame] = {}
        looks = []
        for look in _follow(_kept(frames, kept), script, true_tiles=options.true_tiles):
            looks.append(look)
            frame = kept.pop(look.time_s)
            if options.save is not None:
                options.save.mkdir(parents=True, exist_ok=True)
                _save(options.save, script, look, frame)
    return Run(seed, script, measure_gallery(truth, looks))


def _follow(frames: Iterable[Frame], script: GalleryScript, *, true_tiles: bool) -> Iterator[Look]:
    """What is found in the pictures; with the true tiles given, only who sits in them."""
    if not true_tiles:
        yield from follow(frames, Settings(), str(script.seed))
        return
    identity = TileIdentity(str(script.seed))
    for frame in frames:
        scene = script.scenes[script.scene_at(frame.time_s)]
        tiles = [tile.rect for tile in scene.tiles]
        settled = frame.time_s >= scene.t0 + scene.reflow_s
        seats = identity.update(frame.image, tiles, frame.time_s, settled=settled)
        yield Look(frame.time_s, tuple(FoundTile(seat.participant, seat.xyxy, certain=seat.certain) for seat in seats))


def _kept(frames: Iterable[Frame], kept: dict[float, Frame]) -> Iterator[Frame]:
    """The same frames, each at hand until its look has been saved."""
    for frame in frames:
        kept[frame.time_s] = frame
        yield frame


def _frames(script: GalleryScript, cast: Cast, crf: int | None, path: Path) -> Iterator[Frame]:
    """The pictures of the script, compressed and read again where that is asked for."""
    if crf is None:
        for number, image in enumerate(pictures(script, cast)):
            yield Frame("gallery", number / script.fps, image)
        return
    write_gallery(path, script, cast, crf=crf)
    yield from read_frames(probe(path), rate_hz=script.fps, hold_s=2.0, tally=Tally())


def _save(folder: Path, script: GalleryScript, look: Look, frame: Frame) -> None:
    """The picture in the middle of each second, with the tiles of the truth in green and what was found in red."""
    if int(look.time_s * script.fps) % script.fps != script.fps // 2:
        return
    picture = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
    scene = script.scenes[script.scene_at(look.time_s)]
    for tile in scene.tiles:
        _draw(picture, tile.rect, (0, 200, 0) if tile.camera else (200, 200, 0), f"p{tile.person + 1}", above=True)
    for found in look.tiles:
        _draw(picture, found.xyxy, (0, 0, 255), found.participant[2:6], above=False)
    cv2.imwrite(str(folder / f"{script.seed:05d}_{look.time_s:06.1f}.png"), picture)


def _draw(picture: Any, box: Box, colour: tuple[int, int, int], text: str, *, above: bool) -> None:  # noqa: ANN401
    x0, y0, x1, y1 = box
    inset = 0 if above else 3
    cv2.rectangle(picture, (x0 + inset, y0 + inset), (x1 - 1 - inset, y1 - 1 - inset), colour, 2)
    at = (x0 + 6, y0 + 18 if above else y0 + 36)
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)


def _about(script: GalleryScript) -> str:
    grids = " ".join(scene.grid for scene in script.scenes)
    return f"{script.size[0]}x{script.size[1]} {script.skin.name} {len(script.scenes[0].tiles)} tiles [{grids}]"


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
