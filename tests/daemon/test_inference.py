"""Tiles → readings with a model that somebody brought."""

from pathlib import Path

import numpy as np
import pytest
from networks import channel_means, describe
from videos import run

from daemon.inference import IDLE_S, FaceReader
from models.external import ExternalPixelModel
from models.loading import load_models
from pipeline.protocols import PixelModel
from pipeline.types import U8, Expressions, FaceReading, Faces, Tile


class Tracker:
    """Finds a round mesh in the middle of every picture."""

    def find(self, image: U8) -> Faces:
        """Always the same."""
        height, width = image.shape[:2]
        angle = np.linspace(0, 6.28, 468)
        mesh = np.stack([width / 2 + 30 * np.cos(angle), height / 2 + 40 * np.sin(angle), 0 * angle], axis=1)
        box = np.array([[width / 2 - 30, height / 2 - 40, width / 2 + 30, height / 2 + 40]], np.float32)
        return Faces(box, np.ones(1, np.float32), mesh[None].astype(np.float32))

    def close(self) -> None:
        """Nothing to give back."""


class Watched(ExternalPixelModel):
    """Keeps the shapes of what it is given."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.given: list[tuple[tuple[int, ...], np.dtype]] = []

    def predict(self, faces: U8) -> Expressions:
        """As before."""
        self.given.append((faces.shape, faces.dtype))
        return super().predict(faces)


@pytest.fixture
def red_is_anger(tmp_path: Path) -> Watched:
    """A 224 px colour model: red faces are angry, green happy, blue sad."""
    weights = np.zeros((3, 7), dtype=np.float32)
    weights[[0, 1, 2], [0, 3, 4]] = 5
    labels = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]
    path = describe(
        tmp_path,
        channel_means(224, weights),
        classes=labels,
        input__size=[224, 224],
        input__colour="rgb",
        input__scale=1 / 255,
    )
    return Watched(path)


def read(pixel: PixelModel, tiles: list[Tile]) -> list[FaceReading]:
    """Readings of one frame."""

    async def main() -> list[FaceReading]:
        landmark = load_models().landmark
        async with FaceReader(
            open_tracker=Tracker, pixel=pixel, landmark=landmark, workers=2, observe=lambda stage, seconds: None
        ) as reader:
            readings, _ = await reader.read("s", 0.0, tiles)
            return readings

    return run(main())


def test_a_model_gets_the_crops_it_asks_for(red_is_anger: Watched) -> None:
    """224 x 224 RGB of each face, in the right colours; the quality of a face is the same for every model."""
    rng = np.random.default_rng(0)
    tiles = []
    for i, channel in enumerate((0, 2)):
        image = rng.integers(0, 60, (160, 120, 3), dtype=np.uint8)
        image[..., channel] += 190
        tiles.append(Tile(f"p-{i}", (0, 0, 120, 160), image))
    red, blue = read(red_is_anger, tiles)
    assert red_is_anger.given == [((2, 224, 224, 3), np.dtype(np.uint8))]
    assert (red.pixel.argmax(), blue.pixel.argmax()) == (0, 4)
    shipped = read(load_models().pixel, tiles)
    assert [reading.quality for reading in shipped] == [red.quality, blue.quality]


def test_trackers_of_whom_nothing_is_seen_go(red_is_anger: Watched) -> None:
    """Half a minute after somebody has left the next who comes gets their tracker, which has seen nothing then."""
    closed: list[int] = []
    opened: list[Tracker] = []
    blank: list[int] = []

    class Counted(Tracker):
        def __init__(self) -> None:
            self.number = len(opened)
            opened.append(self)

        def find(self, image: U8) -> Faces:
            if image.shape == (64, 64, 3):
                blank.append(self.number)
            return super().find(image)

        def close(self) -> None:
            closed.append(self.number)

    def tile(number: int) -> Tile:
        return Tile(f"p-{number:08x}", (0, 0, 120, 120), np.zeros((120, 120, 3), np.uint8))

    async def main() -> None:
        async with FaceReader(
            open_tracker=Counted,
            pixel=red_is_anger,
            landmark=load_models().landmark,
            workers=1,
            observe=lambda stage, seconds: None,
        ) as reader:
            await reader.read("s", 0.0, [tile(0), tile(1)])
            await reader.read("s", IDLE_S, [tile(0), tile(2)])
            assert (len(opened), blank) == (3, [])
            await reader.read("s", IDLE_S + 0.2, [tile(0), tile(2)])
            await reader.read("s", IDLE_S + 0.4, [tile(0), tile(2), tile(3)])
            assert (len(opened), blank) == (3, [1])
            reader.forget("s")
            await reader.read("t", 0.0, [tile(4)])
            assert len(opened) == 3
            assert closed == []
        assert sorted(closed) == [0, 1, 2]

    run(main())
