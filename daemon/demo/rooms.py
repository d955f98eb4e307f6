"""What is behind the sitters of a made-up meeting: rooms, and pictures as virtual backgrounds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from daemon.demo.layouts import Rgb
from pipeline.emotions import F32
from pipeline.types import U8


def muted(rng: np.random.Generator, low: int, high: int) -> Rgb:
    """A colour that is nearly grey, between these levels."""
    grey = rng.uniform(low, high)
    red, green, blue = np.clip(grey + rng.uniform(-0.22, 0.22, 3) * grey, 0, 255)
    return int(red), int(green), int(blue)


def darker(colour: Rgb, share: float) -> Rgb:
    """The colour with this share of its light."""
    red, green, blue = (int(share * channel) for channel in colour)
    return red, green, blue


@dataclass(frozen=True, slots=True, eq=False)
class _Wall:
    """A wall to put things on; places are shares of its width and height, from `x` on for what stands at a side."""

    picture: U8
    rng: np.random.Generator
    paint: Rgb
    x: float

    def at(self, right: float, down: float) -> tuple[int, int]:
        height, width = self.picture.shape[:2]
        return int((self.x + right) * width), int(down * height)

    def block(self, left: float, up: float, right: float, down: float, colour: Rgb) -> None:
        cv2.rectangle(self.picture, self.at(left, up), self.at(right, down), colour, -1)

    def oval(self, middle: tuple[int, int], reach: tuple[float, float], arc: tuple[float, float], colour: Rgb) -> None:
        """Turned by `arc[0]` degrees, from `arc[1]` on to the full circle."""
        height, width = self.picture.shape[:2]
        axes = (int(reach[0] * width), int(reach[1] * height))
        cv2.ellipse(self.picture, middle, axes, arc[0], arc[1], 360, colour, -1)


def _window(wall: _Wall) -> None:
    wall.block(0, 0.05, 0.26, 0.62, muted(wall.rng, 190, 250))
    wall.block(0.12, 0.05, 0.14, 0.62, muted(wall.rng, 150, 230))


def _shelves(wall: _Wall) -> None:
    for level in (0.1, 0.34, 0.58):
        at = 0.0
        while at < 0.26:  # noqa: PLR2004 (the shelf's end)
            wide = wall.rng.uniform(0.012, 0.035)
            wall.block(at, level + wall.rng.uniform(0, 0.07), at + wide, level + 0.2, muted(wall.rng, 30, 210))
            at += wide + 0.004
        wall.block(0, level + 0.2, 0.28, level + 0.22, muted(wall.rng, 40, 120))


def _frame(wall: _Wall) -> None:
    wall.block(0.04, 0.12, 0.24, 0.48, muted(wall.rng, 20, 90))
    wall.block(0.055, 0.15, 0.225, 0.45, muted(wall.rng, 60, 230))
    wall.block(0.1, 0.22, 0.18, 0.45, muted(wall.rng, 60, 200))


def _door(wall: _Wall) -> None:
    wall.block(0.05, 0.02, 0.3, 1, darker(wall.paint, 0.7))
    wall.block(0.07, 0.06, 0.28, 1, darker(wall.paint, 0.82))


def _plant(wall: _Wall) -> None:
    rng = wall.rng
    for _ in range(14):
        middle = wall.at(rng.uniform(0.04, 0.24), rng.uniform(0.25, 0.8))
        reach = (rng.uniform(0.01, 0.03), rng.uniform(0.06, 0.16))
        green = (int(rng.uniform(20, 70)), int(rng.uniform(70, 140)), int(rng.uniform(30, 70)))
        wall.oval(middle, reach, (float(rng.uniform(-50, 50)), 0), green)
    wall.block(0.09, 0.78, 0.2, 1, muted(rng, 70, 200))


def _lamp(wall: _Wall) -> None:
    wall.oval(wall.at(0.15, 0.3), (0.05, 0.09), (0, 180), (250, 236, 190))
    wall.block(0.145, 0.3, 0.155, 1, (40, 36, 32))


def _nothing(wall: _Wall) -> None:
    """A bare wall."""


_THINGS: Final[tuple[Callable[[_Wall], None], ...]] = (_window, _shelves, _frame, _door, _plant, _lamp, _nothing)


def room(rng: np.random.Generator, size: tuple[int, int], wall: tuple[Rgb, Rgb]) -> U8:
    """(height, width, 3) uint8 RGB: a wall, its colours at the top and at the bottom, with a thing at each side."""
    width, height = size
    picture = _fade(wall, size).astype(np.uint8)
    for side in (0.0, 0.66):
        thing = _THINGS[int(rng.integers(len(_THINGS)))]
        thing(_Wall(picture, rng, wall[0], side + float(rng.uniform(0, 0.05))))
    if rng.random() < 0.4:  # noqa: PLR2004 (a sofa or a board along the wall)
        cv2.rectangle(picture, (0, int(rng.uniform(0.68, 0.85) * height)), (width, height), muted(rng, 40, 190), -1)
    return picture


def landscape(rng: np.random.Generator, size: tuple[int, int]) -> U8:
    """(height, width, 3) uint8 RGB: a sky with hills."""
    width, height = size
    picture = _fade((muted(rng, 150, 240), muted(rng, 90, 200)), size).astype(np.uint8)
    columns = np.arange(width) / width
    for level in (0.5, 0.62, 0.78):
        ridge = level + 0.08 * np.sin(2 * np.pi * (columns * rng.uniform(0.7, 2.5) + rng.random()))
        picture[np.arange(height)[:, None] / height > ridge] = muted(rng, 40, 170)
    return picture


def _fade(colours: tuple[Rgb, Rgb], size: tuple[int, int]) -> F32:
    """From one colour at the top to another at the bottom."""
    width, height = size
    top, bottom = (np.array(colour, dtype=np.float32) for colour in colours)
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return np.asarray(np.repeat(top + down * (bottom - top), width, axis=1), dtype=np.float32)
