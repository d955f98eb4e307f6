"""A video wall → the rectangles of its participants, held from picture to picture.

A full search (`pipeline.explanations`) is made once a second after a change, later every three, and at once when the
picture no longer fits the layout, and for a moment after that: gutters are no longer page, a tile has become page,
something shows where the page was. A new layout counts when two pictures agree on it, so that tiles in motion do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.boxes import covered, in_order, iou, lie_in, same_layout
from pipeline.explanations import BETTER, SURE, WALL_MIN, believed, explain, is_certain, is_lone, scale
from pipeline.page import SAME_PAGE, Lines, Page, PageMask
from pipeline.probe import Probe, thumbnail
from pipeline.screens import Rooms, faces_in, is_flat, shows_screen
from pipeline.tiles import Search
from pipeline.types import U8, Box, FaceBoxes
from pipeline.walls import DEFAULT_GALLERY, GallerySettings, Wall

__all__ = ("DEFAULT_GALLERY", "NO_HINTS", "GalleryHints", "GallerySettings", "GallerySplitter", "Layout", "find_tiles")

SEARCH_EVERY_S: Final = 1.0
CALM_S: Final = 3.0
"""For so long after a change, and while no gallery is known; then"""
CALM_EVERY_S: Final = 3.0
AGREE_S: Final = 0.15
"""A new layout stands at least so long before it counts."""
WEAK_S: Final = 0.8
"""The same for an explanation of little evidence."""
HOLD_S: Final = 1.0
"""And a better one of a layout that still fits."""
DOUBT_S: Final = 2.0
"""And where it contradicts a layout that still fits."""
FACES_FOR_S: Final = 1.3
"""Faces say something about pictures up to so much later."""
FACE_CUT: Final = 0.25
"""Less of a face than this, or all but this, lies in a tile."""
CUT_MIN: Final = 0.25
"""And it takes so many cut faces for each tile: in a large wall a detector sees one across four people."""
GIVE_IN_S: Final = 1.5
"""Where no two pictures agree for so long, about the same is enough."""
STIRRED_S: Final = 0.7
"""For so long after a picture that did not fit tiles may still come, go or grow."""
STILL: Final = 0.015
"""Edges of a layout that stands move by no more than this share of the tile, from picture to picture."""
KNOWN_MIN: Final = 0.85
"""While the known page explains the picture to this share of its best score, no other page is looked for."""
NO_FACE_LOOKS: Final = 4
"""A big region beside a strip in which no face was seen in so many looks is a shared film, not who speaks."""
SAME_MAIN: Final = 0.85
"""Overlap from which on big regions beside a strip are one: only who or what they show may have changed."""
STILL_LOOKS: Final = 2
"""One of few colours that has not changed in so many looks is a shared page: people move."""
MAIN_STEP, MAIN_LEVELS, MAIN_CHANGED = 6, 10, 0.001
"""Every sixth pixel is looked at; it changed where a channel differs by more than this; of so few none did."""
BIG_FACE: Final = 0.1
"""The face of who speaks is at least this part of the big region's height."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The rectangles of a picture's participants, row by row from the top left.

    settled: False where the picture no longer shows this layout and the new one is not certain: nobody may be read.
    stirred: a picture up to `STIRRED_S` before did not fit: other people may sit in the same tiles.
    """

    tiles: tuple[Box, ...]
    settled: bool
    stirred: bool = False


@dataclass(frozen=True, slots=True)
class GalleryHints:
    """What is known of a gallery beforehand and wins over what is found.

    grid: (columns, rows) of equal tiles that fill the picture. tiles: the rectangles themselves, in pixels; they win
    over `grid`.
    """

    grid: tuple[int, int] | None = None
    tiles: tuple[Box, ...] = ()

    def layout(self, size: tuple[int, int]) -> tuple[Box, ...]:
        """The tiles of a picture of (height, width), as far as they lie in it, at least a pixel; () without hints."""
        height, width = size
        if self.tiles:
            return tuple(
                (x0, y0, max(x0 + 1, min(width, box[2])), max(y0 + 1, min(height, box[3])))
                for box in self.tiles
                for x0, y0 in [(min(max(0, box[0]), width - 1), min(max(0, box[1]), height - 1))]
            )
        if self.grid is None:
            return ()
        columns, rows = self.grid
        xs = [round(i * width / columns) for i in range(columns + 1)]
        ys = [round(i * height / rows) for i in range(rows + 1)]
        return tuple((xs[c], ys[r], xs[c + 1], ys[r + 1]) for r in range(rows) for c in range(columns))


NO_HINTS: Final = GalleryHints()


def find_tiles(image: U8, settings: GallerySettings = DEFAULT_GALLERY) -> tuple[Box, ...]:
    """Boxes of the tiles, row by row from the top left; () when the (H, W, 3) uint8 picture shows nothing.

    A picture that is no gallery is one tile, the whole picture, or none where it shows a shared screen.

    Raises:
        ValueError: The picture is not (H, W, 3) uint8 with at least one pixel.
    """
    _check(image)
    if _shows_nothing(image, settings):
        return ()
    found = explain(Lines(image), settings)
    return _participants(image, found[0] if found else None)


def _check(image: U8) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:  # noqa: PLR2004
        msg = f"picture: expected (H, W, 3) uint8 with H, W > 0, got {image.shape} {image.dtype}"
        raise ValueError(msg)


def _shows_nothing(image: U8, settings: GallerySettings) -> bool:
    """Whether nearly all of the picture is of one colour."""
    sample = np.sort(thumbnail(image).reshape(-1, 3), axis=0)
    spread = sample[-1 - len(sample) // 50].astype(np.int16) - sample[len(sample) // 50]
    return float(spread.max()) < settings.contrast_min


def _participants(image: U8, wall: Wall | None) -> tuple[Box, ...]:
    """The tiles of an explanation and who speaks beside them, in reading order."""
    height, width = image.shape[:2]
    whole = (0, 0, width, height)
    if wall is None:
        return () if shows_screen(image, whole, certain=True) else (whole,)
    if wall.main is None or not wall.camera_main or shows_screen(image, wall.main):
        return in_order(wall.tiles)
    return in_order((*wall.tiles, wall.main))


@dataclass(slots=True)
class _State:
    """What is known of a feed.

    tiles: the layout; settled: see `Layout`; firm: the layout comes from a picture that showed something. n_blank: how
    many pictures showed nothing before. search_at_s: when a full search is due; calm_s: when it will be due less often.
    mask, wall: the page on which the layout was found, and the explanation; page: that of the last gallery, which an
    application keeps through a re-flow. candidate, n_agree, since_s: a layout that may follow, how often in a row it was
    found, since when. unsettled_s: when the layout was left; follows: how a picture since then was explained last, and its
    page. main: the big region beside a strip; n_faceless: how often
    in a row no face was seen in it; main_look, n_still: some of its pixels when it was last looked at, how often in a
    row they had not changed; is_film: whether it is shared. stirred_s: when a picture did not fit last.
    """

    tiles: tuple[Box, ...] = ()
    settled: bool = True
    firm: bool = False
    n_blank: int = 0
    search_at_s: float = -np.inf
    calm_s: float = -np.inf
    probe: Probe | None = None
    mask: PageMask | None = None
    page: Page | None = None
    wall: Wall | None = None
    candidate: tuple[Box, ...] = ()
    n_agree: int = 0
    since_s: float = 0.0
    unsettled_s: float = 0.0
    follows: tuple[Wall, PageMask] | None = None
    main: Box | None = None
    n_faceless: int = 0
    is_film: bool = False
    main_look: NDArray[np.int16] | None = None
    n_still: int = 0
    stirred_s: float = -np.inf


class GallerySplitter:
    """Keeps the layout of one feed from picture to picture.

    The first picture that shows something counts at once. A picture that shows nothing says nothing about the layout.
    Where there was none but such pictures for `hold` looks, somebody sits there with the camera off: one tile, until
    the first picture that shows something.

    Args:
        settings: How tiles are told from the page.
        hints: What is known beforehand, and wins.
    """

    def __init__(self, settings: GallerySettings = DEFAULT_GALLERY, hints: GalleryHints = NO_HINTS) -> None:
        self._settings = settings
        self._hints = hints
        self._rooms = Rooms()
        self._size = (0, 0)
        self._faces: FaceBoxes | None = None
        self._faces_s = 0.0
        self._now = _State()

    def update(self, image: U8, time_s: float, faces: FaceBoxes | None = None) -> Layout:
        """The layout of this (H, W, 3) uint8 RGB picture; `faces` are those found in it, None where not looked for.

        Raises:
            ValueError: The picture is not (H, W, 3) uint8 with at least one pixel.
        """
        _check(image)
        if faces is not None:
            self._faces, self._faces_s = faces, time_s
        if self._size != image.shape[:2]:
            # Boxes of another picture size mean nothing in this one, those of faces included.
            self._size = (image.shape[0], image.shape[1])
            self._now, self._rooms, self._faces = _State(), Rooms(), faces
        fixed = self._hints.layout(self._size)
        if fixed:
            self._now.tiles = fixed
        elif _shows_nothing(image, self._settings):
            self._see_nothing()
        else:
            self._see(image, time_s)
        if faces is not None and self._now.settled:
            self._rooms.look(image, time_s, self._now.tiles, faces)
            self._watch_main(image, faces)
        # A picture that no longer shows the layout shows what was found in it, as far as it is known.
        tiles = self._now.tiles if self._now.settled else self._now.candidate
        shown = [box for box in tiles if not (self._now.is_film and self._now.main == box)]
        return Layout(self._rooms.split(shown), self._now.settled, self._stirs(time_s))

    def _stirs(self, time_s: float) -> bool:
        """Whether a picture did not fit the layout a moment ago."""
        return time_s - self._now.stirred_s <= STIRRED_S

    def _see_nothing(self) -> None:
        self._now.n_blank += 1
        if not self._now.firm and self._now.n_blank >= self._settings.hold:
            self._now.tiles = ((0, 0, self._size[1], self._size[0]),)

    def _see(self, image: U8, time_s: float) -> None:
        """Look at a picture that shows something."""
        fits = self._now.probe is not None and self._now.probe.fits(image)
        if self._now.firm and not fits:
            self._now.stirred_s = time_s
        due = time_s >= self._now.search_at_s or self._stirs(time_s)
        if self._now.firm and fits and self._now.settled and not due:
            return
        is_calm = time_s >= self._now.calm_s and self._now.wall is not None
        self._now.search_at_s = time_s + (CALM_EVERY_S if is_calm else SEARCH_EVERY_S)
        found = self._find(Lines(image), known=fits)
        tiles = _participants(image, found[0] if found else None)
        if self._now.settled and not fits and self._now.firm and not _alike(tiles, self._now.tiles):
            # What was seen of faces before says nothing of what shows now.
            self._now.settled, self._now.unsettled_s, self._now.n_agree = False, time_s, 0
        if found and len(found[0].tiles) > 1 and self._cuts_a_face(found[0], time_s):
            found, tiles = None, ((0, 0, self._size[1], self._size[0]),)
        # A gallery seldom turns into nothing, or into one tile: more likely its tiles are in motion.
        sure = found is not None and is_certain(found[0])
        if found is None or is_lone(found[0]):
            sure = (found is None or sure) and len(self._now.tiles) <= 1
        if not self._now.firm:
            if sure:
                self._settle(image, tiles, found, time_s)
                return
            # Something like a gallery: nobody is read before it has stood for a moment.
            self._now.firm, self._now.settled, self._now.unsettled_s, self._now.tiles = True, False, time_s, tiles
        if self._now.settled and not fits:
            self._settle(image, tiles, found, time_s)
        elif self._now.settled:
            self._compare(image, tiles, found, time_s, sure=sure)
        else:
            self._await(image, tiles, found, time_s, sure=sure)

    def _cuts_a_face(self, wall: Wall, time_s: float) -> bool:
        """Whether tiles end in the middle of most faces that were seen of late: then they are none.

        One face alone may hang over: the detector's box of somebody close to the camera is wider than the tile.
        """
        since = time_s - FACES_FOR_S if self._now.settled else time_s
        if self._faces is None or self._faces_s < since:
            return False
        boxes = [*wall.tiles, *([wall.main] if wall.main else [])]
        whole = (0, 0, self._size[1], self._size[0])
        shares = [max(covered(face, [box]) for box in boxes) for face in faces_in(whole, self._faces)]
        n_cut = sum(FACE_CUT < share < 1 - FACE_CUT for share in shares)
        n_seen = sum(share > FACE_CUT for share in shares)
        return 2 * n_cut > n_seen and n_cut >= CUT_MIN * len(boxes)

    def _find(self, lines: Lines, *, known: bool) -> tuple[Wall, Search] | None:
        """The best explanation: on the known page, over time, while that does; else on any."""
        now, lone = self._now, None
        if known and now.settled and now.mask is not None and now.wall is not None:
            mask = PageMask(lines, now.mask.page, near=now.mask.near, before=now.mask)
            search = Search(mask, self._settings)
            wall = search.best()
            now.mask = mask
            if wall is not None and believed(wall) and wall.score >= KNOWN_MIN * now.wall.score:
                if not is_lone(wall):
                    return wall, search
                # What is one tile on one page may be a gallery on another.
                lone = wall, search
        found = explain(lines, self._settings, now.page)
        if lone and (found is None or is_lone(found[0])):
            return lone
        return self._still(lines, found) or found

    def _still(self, lines: Lines, found: tuple[Wall, Search] | None) -> tuple[Wall, Search] | None:
        """What stood, or was found last since that was left, where it explains the picture as well as what is found now.

        Tiles that have moved come back where nothing else is certain.
        """
        now = self._now
        held = [(now.wall, now.mask)] if now.wall is not None and now.mask is not None else []
        if now.follows is not None and (found is None or not is_certain(found[0])):
            held.append(now.follows)
        again = [one for wall, mask in held if (one := self._again(lines, found, wall, mask)) is not None]
        return max(again, key=lambda one: one[0].score / scale(one[0]), default=None)

    def _again(
        self, lines: Lines, found: tuple[Wall, Search] | None, stood: Wall, mask: PageMask
    ) -> tuple[Wall, Search] | None:
        """An explanation of before where it is as good: then only what a tile or what is beside them shows is new.

        Where little is to be seen of the page, another picture may be taken for it: so its own page is looked at, too.
        """
        now = self._now
        sure = found is not None and is_certain(found[0])
        least = SURE if now.settled else WALL_MIN
        if found is not None:
            n_found, n_stood = len(found[0].tiles), len(stood.tiles)
            joined = n_found < n_stood and lie_in(stood.tiles, found[0].tiles)
            elsewhere = _as_many(found[0], stood) and not found[1].cells.is_narrower(found[0].tiles, stood.tiles)
            if sure and not now.settled and not (elsewhere or joined):
                return None
            # What leaves out who was there a moment ago, joins them, or has as many elsewhere, must be clearly better.
            fewer = n_found < n_stood and lie_in(found[0].tiles, stood.tiles)
            least = max(least, found[0].score / scale(found[0]) - (BETTER if fewer or joined or elsewhere else 0.0))
        searches = [found[1]] if found is not None and sure else []
        if found is None or not sure or np.abs(found[1].cells.mask.page.plane - mask.page.plane).max() > SAME_PAGE:
            searches.append(Search(PageMask(lines, mask.page, near=mask.near), self._settings))
        for search in searches:
            wall = search.again(stood)
            if wall.main and stood.main and iou(wall.main, stood.main) >= SAME_MAIN:
                # So does the region beside it: what it shows may have bars of its own.
                wall = replace(wall, main=stood.main)
            if wall.score >= least * scale(wall) and not any(map(search.cells.is_divided, wall.tiles)):
                return wall, search
        return None

    def _compare(
        self, image: U8, tiles: tuple[Box, ...], found: tuple[Wall, Search] | None, time_s: float, *, sure: bool
    ) -> None:
        """A layout that still fits gives way only to a better one on which `hold` looks in a row agree."""
        if same_layout(tiles, self._now.tiles):
            self._now.n_agree = 0
            return
        same_main = found is not None and found[0].main is not None and _same_but(found[0].main, tiles, self._now.tiles)
        if found is not None and self._now.wall is not None and not same_main:
            now = found[1].score_again(self._now.wall)
            if found[0].score < now + BETTER:
                self._now.n_agree = 0
                return
        self._agree(tiles, time_s, close=False)
        self._now.search_at_s, self._now.calm_s = time_s, time_s + CALM_S
        n_looks, least_s = self._settings.hold, HOLD_S if sure else DOUBT_S
        if sure and self._stirs(time_s):
            # What was found in motion is corrected as soon as two pictures agree.
            n_looks, least_s = 2, AGREE_S
        if self._now.n_agree >= n_looks and time_s - self._now.since_s >= least_s:
            self._settle(image, tiles, found, time_s)

    def _await(
        self, image: U8, tiles: tuple[Box, ...], found: tuple[Wall, Search] | None, time_s: float, *, sure: bool
    ) -> None:
        """The picture has changed: what two pictures agree on counts."""
        self._now.follows = (found[0], found[1].cells.mask) if found else self._now.follows
        self._agree(tiles, time_s, close=time_s - self._now.unsettled_s < GIVE_IN_S)
        if self._now.n_agree >= 2 and time_s - self._now.since_s >= (AGREE_S if sure else WEAK_S):  # noqa: PLR2004
            self._settle(image, tiles, found, time_s)

    def _agree(self, tiles: tuple[Box, ...], time_s: float, *, close: bool) -> None:
        """Count how often in a row this layout was found; `close`: to the pixel, nearly."""
        agree = _alike if close else same_layout
        if self._now.n_agree and agree(tiles, self._now.candidate):
            self._now.n_agree += 1
        else:
            self._now.n_agree, self._now.since_s = 1, time_s
        self._now.candidate = tiles

    def _settle(self, image: U8, tiles: tuple[Box, ...], found: tuple[Wall, Search] | None, time_s: float) -> None:
        """From now on this is the layout."""
        # The same layout keeps its boxes: nobody is cropped differently for a pixel.
        self._now.tiles = self._now.tiles if self._now.firm and same_layout(tiles, self._now.tiles) else tiles
        self._now.settled, self._now.firm, self._now.n_agree, self._now.follows = True, True, 0, None
        self._now.mask = found[1].cells.mask if found else None
        self._now.page = found[1].cells.mask.page if found else self._now.page
        self._now.probe = Probe(image, self._now.tiles, self._now.mask, found[0].main if found else None)
        self._now.search_at_s, self._now.calm_s = time_s + SEARCH_EVERY_S, time_s + CALM_S
        self._now.wall, self._now.main = (found[0], found[0].main) if found else (None, None)
        self._now.is_film, self._now.n_faceless, self._now.n_still, self._now.main_look = False, 0, 0, None

    def _watch_main(self, image: U8, faces: FaceBoxes) -> None:
        """Whether the big region beside a strip shows who speaks, or a film without anybody, or a still page."""
        now = self._now
        if now.main is None or now.main not in now.tiles:
            return
        x0, y0, x1, y1 = now.main
        look = image[y0:y1:MAIN_STEP, x0:x1:MAIN_STEP].astype(np.int16)
        changed = 1.0 if now.main_look is None else float((np.abs(look - now.main_look) > MAIN_LEVELS).mean())
        now.n_still = now.n_still + 1 if changed <= MAIN_CHANGED else 0
        now.main_look = look
        seen = any(face[3] - face[1] >= BIG_FACE * (y1 - y0) for face in faces_in(now.main, faces))
        now.n_faceless = 0 if seen else now.n_faceless + 1
        is_page = now.n_still >= STILL_LOOKS and is_flat(image, now.main)
        now.is_film = now.n_faceless >= NO_FACE_LOOKS or is_page


def _as_many(a: Wall, b: Wall) -> bool:
    """Whether two explanations have equally many tiles, and none or the same big region beside them."""
    if a.main is None or b.main is None:
        return a.main is b.main and len(a.tiles) == len(b.tiles)
    return len(a.tiles) == len(b.tiles) and iou(a.main, b.main) >= SAME_MAIN


def _same_but(main: Box, a: Sequence[Box], b: Sequence[Box]) -> bool:
    """Whether two layouts differ in nothing but the big region, which is a tile in one of them and not in the other."""
    without = [[box for box in tiles if iou(box, main) < SAME_MAIN] for tiles in (a, b)]
    return len(a) != len(b) and same_layout(*without)


def _alike(a: Sequence[Box], b: Sequence[Box]) -> bool:
    """Whether two layouts are the same and neither is in motion."""
    return same_layout(a, b) and _stands(a, b)


def _stands(a: Sequence[Box], b: Sequence[Box]) -> bool:
    """Whether no edge of two layouts of equal length differs by more than a pixel or two."""
    slack = (max(2.0, STILL * max(x[2] - x[0], x[3] - x[1])) for x in a)
    return all(abs(p - q) <= most for x, y, most in zip(a, b, slack, strict=True) for p, q in zip(x, y, strict=True))
