"""Draws a made-up meeting as an application would: `pictures` frame by frame, `write_gallery` as a recording."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np

from daemon.demo.cast import Cast
from daemon.demo.gallery import MOST, GalleryScript, GalleryTile, Scene
from daemon.demo.screens import Screen
from pipeline.emotions import F32
from pipeline.types import U8, Box

_NOISE_SD: Final = 1.5
_AVATARS: Final = (
    (0, 121, 107), (194, 24, 91), (81, 45, 168), (230, 81, 0), (69, 90, 100), (2, 119, 189), (104, 159, 56),
    (120, 144, 156), (93, 64, 55),
)  # fmt: skip


def pictures(script: GalleryScript, cast: Cast) -> Iterator[U8]:
    """Every picture of the script, (H, W, 3) uint8 RGB, as an application draws it, before any compression."""
    stage = Stage(script, cast)
    for number in range(script.seconds * script.fps):
        yield stage.picture(number)


def write_gallery(path: Path, script: GalleryScript, cast: Cast, *, crf: int = 25) -> None:
    """The script as H.264 in an MP4 file, compressed with this constant rate factor (meetings: 23 to 30).

    Raises:
        ValueError: Width or height is odd: H.264 halves its colours.
    """
    if script.size[0] % 2 or script.size[1] % 2:
        msg = f"a recording has an even width and height, not {script.size[0]}x{script.size[1]}"
        raise ValueError(msg)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=script.fps)
        stream.width, stream.height = script.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, script.fps)
        # A fixed number of threads: x264 decides differently with another.
        stream.options = {"preset": "veryfast", "crf": str(crf), "threads": "2", "g": str(10 * script.fps)}
        for number, picture in enumerate(pictures(script, cast)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, script.fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


class Stage:
    """The window of a meeting; pictures may be asked for in any order, in time's order they come fastest."""

    def __init__(self, script: GalleryScript, cast: Cast) -> None:
        self._script = script
        self._cast = cast
        self._skin = script.skin
        self._screen = Screen(script.share, script.seed, cast, script.face + MOST)
        width, height = script.size
        self._page = _page(script)
        rng = np.random.default_rng((script.seed, 27))
        noise = rng.normal(0, _NOISE_SD, (height + 64, width + 64, 1))
        self._noise = np.repeat(np.rint(noise), 3, axis=2).astype(np.int16)
        self._corners: dict[int, F32] = {}
        self._base: tuple[int, U8] | None = None

    def picture(self, number: int) -> U8:
        """Picture `number` of the script, (H, W, 3) uint8 RGB."""
        script = self._script
        time_s = number / script.fps
        index = script.scene_at(time_s)
        scene = script.scenes[index]
        speaking = {person for t0, t1, person in script.speakers if t0 <= time_s < t1}
        moving = index > 0 and time_s < scene.t0 + scene.reflow_s
        if moving:
            canvas = self._page.copy()
            tiles = _between(script.scenes[index - 1], scene, (time_s - scene.t0) / scene.reflow_s)
        else:
            canvas = self._still(index, scene)
            tiles = scene.tiles
        if scene.screen:
            self._draw_screen(canvas, scene.screen, time_s)
        for tile in tiles:
            if tile.camera:
                self._draw_camera(canvas, tile, time_s, number)
            elif moving:
                self._draw_avatar(canvas, tile)
            if tile.camera or moving:
                self._draw_label(canvas, tile)
            if tile.person in speaking:
                self._draw_border(canvas, tile.rect)
        return canvas

    def _still(self, index: int, scene: Scene) -> U8:
        """A copy of the scene without what moves in it."""
        if self._base is None or self._base[0] != index:
            canvas = self._page.copy()
            for tile in scene.tiles:
                if not tile.camera:
                    self._draw_avatar(canvas, tile)
                    self._draw_label(canvas, tile)
            self._base = (index, canvas)
        return self._base[1].copy()

    def _draw_screen(self, canvas: U8, box: Box, time_s: float) -> None:
        """The shared screen at 16:10 in its region, on the page."""
        x0, y0, x1, y1 = box
        width, height = min(x1 - x0, round((y1 - y0) * 1.6)), min(y1 - y0, round((x1 - x0) / 1.6))
        left, top = (x0 + x1 - width) // 2, (y0 + y1 - height) // 2
        canvas[top : top + height, left : left + width] = self._screen.picture(time_s, (width, height))

    def _draw_camera(self, canvas: U8, tile: GalleryTile, time_s: float, number: int) -> None:
        """The camera's picture in its tile, with bars where it does not fill it."""
        x0, y0, x1, y1 = tile.rect
        cx0, cy0, cx1, cy1 = tile.content
        width, height = cx1 - cx0, cy1 - cy0
        aspect = self._script.people[tile.person].aspect
        full = (max(width, round(height * aspect)), max(height, round(width / aspect)))
        picture = self._camera(tile.person, time_s, full)
        left, top = (full[0] - width) // 2, (full[1] - height) // 2
        picture = picture[top : top + height, left : left + width]
        # The sensor's noise differs from picture to picture and from tile to tile.
        dx, dy = (number * 37 + tile.person * 11) % 64, (number * 23 + tile.person * 29) % 64
        noise = self._noise[dy + cy0 : dy + cy1, dx + cx0 : dx + cx1]
        picture = np.asarray(cv2.add(picture, noise, dtype=cv2.CV_8U), dtype=np.uint8)
        if tile.rect != tile.content:
            whole = np.empty((y1 - y0, x1 - x0, 3), dtype=np.uint8)
            if self._skin.bars is None:
                small = cv2.resize(picture, (16, 9), interpolation=cv2.INTER_AREA)
                small = cv2.GaussianBlur(small, (0, 0), 1.5)
                whole[:] = cv2.convertScaleAbs(cv2.resize(small, (x1 - x0, y1 - y0)), alpha=0.55)
            else:
                whole[:] = self._skin.bars
            whole[cy0 - y0 : cy1 - y0, cx0 - x0 : cx1 - x0] = picture
            picture = whole
        self._paste(canvas, picture, tile.rect)

    def _camera(self, person: int, time_s: float, size: tuple[int, int]) -> U8:
        """What somebody's camera shows, at (width, height): with a mate each has one half of it."""
        mate = self._script.mate(person)
        first = self._script.face
        if mate is None:
            return self._cast.picture(first + person, time_s, size)
        left = size[0] // 2
        parts = ((person, left), (mate, size[0] - left))
        return np.hstack([self._cast.picture(first + who, time_s, (width, size[1])) for who, width in parts])

    def _draw_avatar(self, canvas: U8, tile: GalleryTile) -> None:
        """The tile of somebody whose camera is off: initials."""
        x0, y0, x1, y1 = tile.rect
        width, height = x1 - x0, y1 - y0
        picture = np.full((height, width, 3), self._skin.tile, dtype=np.uint8)
        name = self._script.people[tile.person].name
        initials = "".join(part[0] for part in name.split())[:2]
        radius = int(0.24 * min(width, height))
        ink = (255, 255, 255) if sum(self._skin.tile) < 3 * 140 else (50, 50, 50)
        if self._skin.round_avatar:
            middle = (width // 2, height // 2)
            cv2.circle(picture, middle, radius, _AVATARS[tile.person % len(_AVATARS)], -1, cv2.LINE_AA)
            _centred(picture, initials, radius / 24, (255, 255, 255))
        else:
            scale = height / 220
            wide = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]
            _centred(picture, name, scale * min(1.0, 0.85 * width / wide), ink)
        self._paste(canvas, picture, tile.rect)

    def _paste(self, canvas: U8, picture: U8, rect: Box) -> None:
        """A picture with the skin's rounded corners."""
        x0, y0, x1, y1 = rect
        target = canvas[y0:y1, x0:x1]
        radius = min(self._skin.radius, (y1 - y0) // 4, (x1 - x0) // 4)
        if radius == 0:
            target[:] = picture
            return
        # Only the four corners are mixed with what they stand on.
        mask = self._corner(radius)
        kept = [target[rows, columns].copy() for rows, columns in _ends(radius)]
        target[:] = picture
        for (rows, columns), before in zip(_ends(radius), kept, strict=True):
            corner = target[rows, columns]
            share = mask[:: 1 if rows.start == 0 else -1, :: 1 if columns.start == 0 else -1, None]
            corner[:] = (share * corner + (1 - share) * before + 0.5).astype(np.uint8)

    def _corner(self, radius: int) -> F32:
        """(radius, radius) share of the picture in its top left corner."""
        if radius not in self._corners:
            mask = np.zeros((8 * radius, 8 * radius), dtype=np.float32)
            cv2.circle(mask, (8 * radius, 8 * radius), 8 * radius, [1.0], -1)
            self._corners[radius] = np.asarray(
                cv2.resize(mask, (radius, radius), interpolation=cv2.INTER_AREA), dtype=np.float32
            )
        return self._corners[radius]

    def _draw_label(self, canvas: U8, tile: GalleryTile) -> None:
        """The name on its plate, with a microphone where it is off."""
        x0, y0, x1, y1 = tile.label
        if x0 == x1:
            return
        high = y1 - y0
        below = self._skin.label == "below"
        target = canvas[y0:y1, x0:x1]
        if self._skin.badge and not below:
            target[:] = (0.35 * target + 0.65 * np.array([24, 24, 26])).astype(np.uint8)
        light = below and sum(self._skin.page[0]) > 3 * 128
        ink = (40, 40, 40) if light else (245, 245, 245)
        left = round(0.35 * high)
        if tile.muted:
            middle = (round(0.6 * high), high // 2)
            cv2.ellipse(target, middle, (max(1, high // 8), high // 4), 0, 0, 360, (226, 70, 70), -1, cv2.LINE_AA)
            arm = high // 3
            cv2.line(
                target, (middle[0] - arm, middle[1] - arm), (middle[0] + arm, middle[1] + arm), (226, 70, 70),
                max(1, high // 12), cv2.LINE_AA,
            )  # fmt: skip
            left = round(1.1 * high)
        name = self._script.people[tile.person].name
        scale = high / 36
        if not (self._skin.badge or below):
            # Without a plate names have a shadow.
            cv2.putText(
                target, name, (left + 1, round(0.7 * high) + 1), cv2.FONT_HERSHEY_SIMPLEX, scale, (20, 20, 20), 1,
                cv2.LINE_AA,
            )  # fmt: skip
        cv2.putText(target, name, (left, round(0.7 * high)), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)

    def _draw_border(self, canvas: U8, rect: Box) -> None:
        """The mark around whoever speaks."""
        thick = self._skin.border_px
        grow = 0 if self._skin.border_inside else thick
        height, width = canvas.shape[:2]
        x0, y0 = max(0, rect[0] - grow), max(0, rect[1] - grow)
        x1, y1 = min(width, rect[2] + grow), min(height, rect[3] + grow)
        for strip in (
            canvas[y0 : y0 + thick, x0:x1], canvas[y1 - thick : y1, x0:x1],
            canvas[y0:y1, x0 : x0 + thick], canvas[y0:y1, x1 - thick : x1],
        ):  # fmt: skip
            strip[:] = self._skin.border


def _ends(radius: int) -> tuple[tuple[slice, slice], ...]:
    """The four corners of an array."""
    first, last = slice(0, radius), slice(-radius, None)
    return (first, first), (first, last), (last, first), (last, last)


def _centred(picture: U8, text: str, scale: float, ink: tuple[int, int, int]) -> None:
    """A text in the middle of a picture."""
    thick = max(1, round(1.6 * scale))
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    at = ((picture.shape[1] - wide) // 2, (picture.shape[0] + high) // 2)
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thick, cv2.LINE_AA)


def _page(script: GalleryScript) -> U8:
    """The page with its tool bars, nobody on it."""
    width, height = script.size
    skin = script.skin
    top, bottom = (np.array(colour, dtype=np.float32) for colour in skin.page)
    page = np.empty((height, width, 3), dtype=np.uint8)
    page[:] = np.rint(top + np.linspace(0, 1, height)[:, None, None] * (bottom - top))
    page[: skin.top] = skin.bar
    page[height - skin.bottom :] = skin.bar
    ink = (90, 90, 96) if sum(skin.bar) > 3 * 128 else (200, 202, 206)
    if skin.top:
        cv2.putText(
            page, "Weekly call", (skin.top // 3, round(0.65 * skin.top)), cv2.FONT_HERSHEY_SIMPLEX, skin.top / 70, ink, 1,
            cv2.LINE_AA,
        )  # fmt: skip
        cv2.rectangle(
            page, (width - skin.top, skin.top // 3), (width - skin.top // 2, 2 * skin.top // 3), ink, 1, cv2.LINE_AA
        )
    if skin.bottom:
        radius = round(0.3 * skin.bottom)
        button = tuple(int(0.8 * channel + 0.2 * other) for channel, other in zip(skin.bar, ink, strict=True))
        for number in range(7):
            middle = (width // 2 + round((number - 3) * 2.8 * radius), height - skin.bottom // 2)
            red = (214, 48, 49)
            cv2.circle(page, middle, radius, red if number == 6 else button, -1, cv2.LINE_AA)  # noqa: PLR2004
            cv2.circle(page, middle, radius // 3, ink, 1 + number % 3, cv2.LINE_AA)
    return page


def _between(before: Scene, after: Scene, share: float) -> tuple[GalleryTile, ...]:
    """The tiles of a re-flow on their way: those who were there slide, those who come grow from their middle."""
    done = share * share * (3 - 2 * share)
    was: Mapping[int, GalleryTile] = {tile.person: tile for tile in before.tiles}
    moved = []
    for tile in after.tiles:
        start = was.get(tile.person)
        x0, y0, x1, y1 = tile.rect
        middle = ((3 * x0 + x1) // 4, (3 * y0 + y1) // 4, (x0 + 3 * x1) // 4, (y0 + 3 * y1) // 4)
        rect, content = (start.rect, start.content) if start else (middle, middle)
        now = _mixed(rect, tile.rect, done)
        inner = _mixed(content, tile.content, done)
        if tile.rect == tile.content or not _inside(inner, now):
            inner = now
        label = (now[0], now[3], now[0], now[3])  # names come when everything stands
        moved.append(GalleryTile(tile.person, now, inner, label, tile.camera, tile.muted))
    return tuple(moved)


def _mixed(a: Box, b: Box, share: float) -> Box:
    x0, y0, x1, y1 = (round((1 - share) * p + share * q) for p, q in zip(a, b, strict=True))
    return x0, y0, x1, y1


def _inside(inner: Box, outer: Box) -> bool:
    return inner[0] >= outer[0] and inner[1] >= outer[1] and inner[2] <= outer[2] and inner[3] <= outer[3]
