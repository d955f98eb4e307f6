"""The sitters of the demo call: two public-domain portraits, cut out, re-coloured, put in front of walls."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np

from daemon.errors import UnusableInputError
from models.faces import MediaPipeFaceTracker, still_face_finder
from pipeline.emotions import F32
from pipeline.types import U8

_Outline = tuple[tuple[int, int], ...]
_Colour = tuple[int, int, int]


class DemoError(UnusableInputError):
    """The demo call cannot be made on this machine; the message says what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A photograph, (H, W, 3) uint8 RGB; its (468, 2) float32 mesh in pixels; 1 on the sitter, (H, W) float32."""

    image: U8
    mesh: F32
    matte: F32


@dataclass(frozen=True, slots=True)
class Look:
    """How a portrait becomes a participant.

    portrait: its name. mirrored: left and right exchanged. face_px: height of the mesh in the tile. stretch:
    width of the face over its natural width. centre: of the mesh, as shares of the tile's width and height.
    tint: gains of red, green and blue. dye: degrees by which the hue of bright cloth turns. lift: colour added
    to dark cloth and hair. wall: its colour at the top and at the bottom. intensity: how much of an expression
    the person shows, 1 on average.
    """

    portrait: str
    mirrored: bool
    face_px: float
    stretch: float
    centre: tuple[float, float]
    tint: tuple[float, float, float]
    dye: int
    lift: _Colour
    wall: tuple[_Colour, _Colour]
    intensity: float


LOOKS: Final = (
    Look("hopper", False, 158, 1.0, (0.50, 0.52), (1, 1, 1), 0, (0, 0, 0), ((176, 190, 205), (120, 132, 150)), 1.0),
    Look("collins", False, 165, 1.0, (0.49, 0.49), (1, 1, 1), 0, (0, 0, 0), ((205, 196, 180), (150, 140, 126)), 0.97),
    Look("collins", True, 150, 1.06, (0.5, 0.5), (0.9, 0.84, 0.8), 190, (8, 0, 0), ((120, 150, 140), (70, 96, 92)), 1.03),
    Look("hopper", True, 168, 0.97, (0.51, 0.53), (1, 0.97, 0.99), 0, (60, 8, 16), ((226, 214, 196), (170, 150, 130)), 1.1),
)  # fmt: skip
"""The four participants in reading order."""

# Outlines in pixels of the photographs: inside "sure" is only the sitter, outside "frame" only background.
_HOPPER_SURE: Final[tuple[_Outline, ...]] = (
    ((200, 322), (150, 352), (80, 382), (48, 404), (34, 470), (16, 600), (512, 600), (505, 425), (488, 392), (405, 360),
     (332, 322), (300, 330), (230, 330)),
    ((157, 140), (157, 108), (176, 62), (205, 38), (240, 27), (280, 27), (304, 40), (348, 66), (368, 92), (368, 150)),
)  # fmt: skip
_HOPPER_FRAME: Final[_Outline] = (
    (153, 225), (153, 98), (175, 58), (205, 33), (240, 22), (285, 22), (310, 38), (352, 62), (372, 90), (380, 200),
    (370, 290), (338, 318), (412, 354), (491, 387), (508, 425), (512, 600), (12, 600), (30, 470), (44, 401), (77, 378),
    (150, 347), (198, 318), (172, 290), (158, 250),
)  # fmt: skip
_COLLINS_SURE: Final[tuple[_Outline, ...]] = (
    ((186, 162), (162, 151), (134, 170), (118, 197), (120, 210), (74, 232), (53, 270), (33, 360), (24, 512), (380, 512),
     (362, 380), (348, 268), (304, 238), (298, 214), (278, 192), (260, 175), (240, 185), (210, 185)),
)  # fmt: skip
_COLLINS_FRAME: Final[_Outline] = (
    (170, 150), (166, 130), (148, 100), (148, 50), (180, 20), (230, 8), (280, 24), (306, 60), (302, 110), (282, 130),
    (262, 165), (284, 186), (304, 212), (310, 236), (354, 262), (370, 380), (390, 512), (14, 512), (24, 360), (46, 266),
    (70, 226), (114, 206), (112, 194), (130, 166), (158, 147),
)  # fmt: skip


def load_portraits() -> Mapping[str, Portrait]:
    """Grace Hopper (US Navy, 1984) and Eileen Collins (NASA), both in the public domain, by name.

    Raises:
        DemoError: scikit-image or matplotlib, which bring them, is not installed; or no face was found.
    """
    try:
        from matplotlib import cbook  # noqa: PLC0415 (both bring a portrait, and only the demo needs them)
        from skimage import data  # noqa: PLC0415
    except ImportError as error:
        msg = 'the demo call needs scikit-image: pip install "attuned[demo]"'
        raise DemoError(msg) from error
    encoded = np.fromfile(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False), dtype=np.uint8)
    hopper = _u8(cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))
    with still_face_finder() as finder:
        return {
            "hopper": _portrait(finder, hopper, _HOPPER_SURE, _HOPPER_FRAME),
            "collins": _portrait(finder, _u8(data.astronaut()), _COLLINS_SURE, _COLLINS_FRAME),
        }


def place(portrait: Portrait, look: Look, size: tuple[int, int]) -> tuple[U8, F32]:
    """The sitter in front of a wall, (height, width, 3) uint8 RGB, and the (468, 2) mesh in its pixels."""
    low, high = portrait.mesh.min(axis=0), portrait.mesh.max(axis=0)
    scale = look.face_px / float(high[1] - low[1])
    gain = np.array([(-scale if look.mirrored else scale) * look.stretch, scale])
    shift = np.array(look.centre) * size - gain * (low + high) / 2
    matrix = np.column_stack([np.diag(gain), shift])
    person = _u8(cv2.warpAffine(portrait.image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
    matte = cv2.warpAffine(portrait.matte, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    points = (portrait.mesh * gain + shift).astype(np.float32)
    picture = _dress(person, look, points) * matte[..., None] + _wall(look, size) * (1 - matte[..., None])
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8), points


def _u8(image: Any) -> U8:  # noqa: ANN401 (OpenCV and scikit-image do not say what they return)
    return np.ascontiguousarray(image, dtype=np.uint8)


def _portrait(
    finder: MediaPipeFaceTracker,
    picture: U8,
    sure: tuple[_Outline, ...],
    frame: _Outline,
) -> Portrait:
    faces = finder.find(picture)
    if len(faces) != 1:
        msg = "no face was found in the demo's own portraits: reinstall attuned and its dependencies"
        raise DemoError(msg)
    mesh = faces.landmarks[0, :, :2]
    return Portrait(picture, mesh, _matte(picture, mesh, sure, frame))


def _matte(image: U8, mesh: F32, sure: tuple[_Outline, ...], frame: _Outline) -> F32:
    """(H, W) float32 in [0, 1], 1 on the sitter: GrabCut decides what the outlines leave open, such as hair."""
    mask = np.full(image.shape[:2], cv2.GC_BGD, dtype=np.uint8)
    cv2.fillPoly(mask, [np.array(frame, dtype=np.int32)], [cv2.GC_PR_FGD])
    for outline in (*sure, cv2.convexHull(mesh.astype(np.int32))):
        cv2.fillPoly(mask, [np.array(outline, dtype=np.int32)], [cv2.GC_FGD])
    cv2.setRNGSeed(1)  # its clustering draws from the thread's generator
    mixtures = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image, mask, (0, 0, 0, 0), *mixtures, 1, cv2.GC_INIT_WITH_MASK)
    sitter = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(sitter, (0, 0), 1.2), dtype=np.float32)


def _dress(person: U8, look: Look, points: F32) -> F32:
    """The (H, W, 3) float32 RGB picture in other colours: first cloth, then the light on everything."""
    hsv = cv2.cvtColor(person, cv2.COLOR_RGB2HSV)
    below_chin = np.arange(len(person))[:, None] > points[152, 1] + 0.12 * look.face_px
    bright_cloth = (hsv[..., 1] > 90) & below_chin  # noqa: PLR2004 (of 255)
    hsv[..., 0] = np.where(bright_cloth, (hsv[..., 0].astype(np.int32) + look.dye // 2) % 180, hsv[..., 0])
    rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.float32)
    outside_face = np.ones(person.shape[:2], dtype=np.float32)
    cv2.fillConvexPoly(outside_face, cv2.convexHull(points.astype(np.int32)), [0.0])
    dark = np.clip(1 - rgb.max(axis=2) / 90, 0, 1) * cv2.GaussianBlur(outside_face, (0, 0), 6)
    dressed = rgb * np.array(look.tint, dtype=np.float32) + dark[..., None] * np.array(look.lift, dtype=np.float32)
    return np.asarray(dressed, dtype=np.float32)


def _wall(look: Look, size: tuple[int, int]) -> F32:
    """A wall with a window and a sideboard, all out of focus, (height, width, 3) float32 RGB."""
    width, height = size
    top, bottom = (np.array(colour, dtype=np.float32) for colour in look.wall)
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    wall = np.repeat(top + down * (bottom - top), width, axis=1)
    left, right = (0.04, 0.20) if look.mirrored else (0.78, 0.97)
    wall[int(0.08 * height) : int(0.62 * height), int(left * width) : int(right * width)] += 26
    wall[int(0.70 * height) :] -= 12
    return np.asarray(cv2.GaussianBlur(wall, (0, 0), 9), dtype=np.float32)
