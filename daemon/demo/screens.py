"""What is shown on a shared screen of a made-up meeting: slides, a text, code, a web page with faces, a video."""

from typing import Final

import cv2
import numpy as np

from daemon.demo.cast import Cast
from daemon.demo.gallery import Share
from pipeline.types import U8

_PAGE_S: Final = 7.0
"""A slide stands so long; a text scrolls so often."""
_INK: Final = ((200, 80, 60), (60, 120, 200), (70, 160, 90), (230, 170, 40), (130, 90, 180))


class Screen:
    """Draws one shared screen; pages are kept until the next one.

    Faces on a web page and in a video are those of the cast from `face` on, who are not in the call.
    """

    def __init__(self, share: Share, seed: int, cast: Cast, face: int) -> None:
        self._share: Share = share
        self._seed = seed
        self._cast = cast
        self._face = face
        self._kept: tuple[int, int, int, U8] | None = None

    def picture(self, time_s: float, size: tuple[int, int]) -> U8:
        """(height, width, 3) uint8 RGB of this (width, height) at this time."""
        width, height = size
        page = int(time_s / _PAGE_S)
        if self._kept is None or self._kept[:3] != (page, width, height):
            self._kept = (page, width, height, self._page(page, width, height))
        picture = self._kept[3]
        if self._share == "video":
            picture = picture.copy()
            box = _player(width, height)
            picture[box[1] : box[3], box[0] : box[2]] = self._cast.picture(
                self._face, time_s, (box[2] - box[0], box[3] - box[1])
            )
        return picture

    def _page(self, page: int, width: int, height: int) -> U8:
        rng = np.random.default_rng((self._seed, 26, page))
        paper = (30, 30, 30) if self._share == "code" else (255, 255, 255)
        picture = np.full((height, width, 3), paper, dtype=np.uint8)
        if self._share == "slides":
            _slide(picture, rng, page)
        elif self._share == "text":
            _text(picture, rng)
        elif self._share == "code":
            _code(picture, rng)
        else:
            _browser(picture, rng, beside=self._share == "video")
            if self._share == "web":
                self._people(picture, rng)
        return picture

    def _people(self, picture: U8, rng: np.random.Generator) -> None:
        """Photographs with a line of text below, as on the page of a team."""
        height, width = picture.shape[:2]
        columns = int(rng.integers(2, 5))
        side = int(0.72 * width / columns)
        for row in range(2):
            for column in range(columns):
                x = int((column + 0.5) * width / columns - side / 2)
                y = int(0.14 * height + row * (side * 0.75 + 0.12 * height))
                high = int(side * 0.75)
                if y + high > height - 4:
                    continue
                person = self._face + row * columns + column
                picture[y : y + high, x : x + side] = self._cast.picture(person, 1.0, (side, high))
                _line(picture, rng, x, y + high + int(0.03 * height), side // 2, (90, 90, 90), height)


def _player(width: int, height: int) -> tuple[int, int, int, int]:
    """Where a video stands on its web page."""
    x0, y0, x1 = int(0.04 * width), int(0.12 * height), int(0.72 * width)
    y1 = min(int(0.86 * height), y0 + round((x1 - x0) * 9 / 16))
    return x0, y0, x1, y1


def _line(
    picture: U8, rng: np.random.Generator, x: int, y: int, length: int, ink: tuple[int, int, int], height: int
) -> None:
    """A line of words of about this length; letters are drawn where they are large enough to be seen."""
    scale = max(0.3, height / 1500)
    words = ["".join(chr(97 + int(c)) for c in rng.integers(0, 26, int(rng.integers(2, 9)))) for _ in range(14)]
    text = ""
    for word in words:
        if cv2.getTextSize(f"{text} {word}", cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0] > length:
            break
        text = f"{text} {word}".strip()
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)


def _slide(picture: U8, rng: np.random.Generator, page: int) -> None:
    """A title, bullets, and a chart."""
    height, width = picture.shape[:2]
    ink = _INK[page % len(_INK)]
    if rng.random() < 0.4:  # noqa: PLR2004
        picture[: int(0.17 * height)] = ink
    else:
        picture[int(0.18 * height) : int(0.19 * height) + 1, int(0.06 * width) : int(0.94 * width)] = ink
    cv2.putText(
        picture, f"Results {page + 1}", (int(0.06 * width), int(0.13 * height)), cv2.FONT_HERSHEY_SIMPLEX,
        height / 500, (20, 20, 20), max(1, height // 250), cv2.LINE_AA,
    )  # fmt: skip
    for number in range(int(rng.integers(3, 7))):
        y = int((0.32 + 0.1 * number) * height)
        cv2.circle(picture, (int(0.075 * width), y - height // 120), max(2, height // 120), ink, -1)
        _line(picture, rng, int(0.1 * width), y, int(rng.uniform(0.2, 0.4) * width), (50, 50, 50), height)
    base = int(0.85 * height)
    if rng.random() < 0.7:  # noqa: PLR2004
        for number, share in enumerate(rng.uniform(0.1, 0.5, 5)):
            x = int((0.56 + 0.075 * number) * width)
            picture[int(base - share * height) : base, x : x + int(0.05 * width)] = _INK[number]
    else:
        cv2.circle(picture, (int(0.74 * width), int(0.55 * height)), int(0.2 * min(width, height)), ink, -1)


def _text(picture: U8, rng: np.random.Generator) -> None:
    """A document on a grey desk."""
    height, width = picture.shape[:2]
    desk = int(0.14 * width)
    picture[:, :desk] = picture[:, width - desk :] = (232, 232, 235)
    picture[: int(0.09 * height)] = (43, 87, 154)
    step = max(12, int(0.036 * height))
    for y in range(int(0.16 * height), height, step):
        if rng.random() < 0.85:  # noqa: PLR2004
            length = int((width - 2.4 * desk) * (1 if rng.random() < 0.8 else rng.uniform(0.2, 0.9)))  # noqa: PLR2004
            _line(picture, rng, int(1.2 * desk), y, length, (40, 40, 40), height)


def _code(picture: U8, rng: np.random.Generator) -> None:
    """An editor: tree, line numbers, indented coloured words."""
    height, width = picture.shape[:2]
    picture[:, : int(0.16 * width)] = (37, 37, 38)
    picture[: int(0.05 * height)] = (45, 45, 45)
    picture[int(0.96 * height) :] = (0, 122, 204)
    inks = ((86, 156, 214), (206, 145, 120), (212, 212, 212), (106, 153, 85), (220, 220, 170))
    step, indent = max(11, int(0.03 * height)), 0
    for y in range(int(0.09 * height), int(0.94 * height), step):
        if rng.random() < 0.5:  # noqa: PLR2004
            _line(picture, rng, int(0.02 * width), y, int(0.12 * width), (170, 170, 170), height)
        indent = max(0, min(5, indent + int(rng.integers(-1, 2))))
        x = int((0.2 + 0.025 * indent) * width)
        for _ in range(int(rng.integers(0, 4))):
            length = int(rng.uniform(0.04, 0.16) * width)
            _line(picture, rng, x, y, length, inks[int(rng.integers(len(inks)))], height)
            x += length + int(0.012 * width)


def _browser(picture: U8, rng: np.random.Generator, *, beside: bool) -> None:
    """A web page's head, and text beside a video."""
    height, width = picture.shape[:2]
    picture[: int(0.05 * height)] = (222, 225, 230)
    picture[int(0.05 * height) : int(0.1 * height)] = (246, 247, 249)
    cv2.rectangle(
        picture, (int(0.1 * width), int(0.06 * height)), (int(0.8 * width), int(0.09 * height)), (228, 230, 234), -1
    )
    if not beside:
        return
    for y in range(int(0.15 * height), int(0.95 * height), max(13, int(0.045 * height))):
        _line(picture, rng, int(0.75 * width), y, int(0.22 * width), (60, 60, 60), height)
