"""Tiles → stable pseudonyms: the same place in the picture is the same participant."""

from collections.abc import Sequence
from hashlib import sha256

from pipeline.gallery import iou
from pipeline.types import Box

SAME_PLACE_IOU = 0.5
WALL = 10_000
"""Width and height of the picture on which places are kept: a change of resolution is no re-flow."""


def pseudonym(seed: str, index: int) -> str:
    """`p-` and eight hexadecimal digits for the index-th participant to appear in the session of `seed`."""
    return "p-" + sha256(f"{seed}:{index}".encode()).hexdigest()[:8]


class TileIdentity:
    """Gives every tile its participant: by place, else a new one in order of appearance, top left first.

    Whoever leaves is remembered by place, so that a tile that comes back there is the same participant. Ids
    that follow people through a re-flow are issue-sized work of their own; see decisions/0003.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._n_known = 0
        self._places: dict[str, Box] = {}

    def assign(self, boxes: Sequence[Box], size: tuple[int, int]) -> tuple[str, ...]:
        """The participant of each box in a picture of (width, height), each one at most once; best overlap first."""
        boxes = [_on_unit_wall(box, size) for box in boxes]
        pairs = sorted(
            (
                (-overlap, i, participant)
                for i, box in enumerate(boxes)
                for participant, place in self._places.items()
                if (overlap := iou(box, place)) >= SAME_PLACE_IOU
            ),
        )
        chosen: dict[int, str] = {}
        for _, i, participant in pairs:
            if i not in chosen and participant not in chosen.values():
                chosen[i] = participant
        for i, box in enumerate(boxes):
            if i not in chosen:
                chosen[i] = pseudonym(self._seed, self._n_known)
                self._n_known += 1
            self._places[chosen[i]] = box
        return tuple(chosen[i] for i in range(len(boxes)))


def _on_unit_wall(box: Box, size: tuple[int, int]) -> Box:
    """The box on a picture of `WALL` x `WALL`."""
    x0, y0, x1, y1 = (round(WALL * side / size[i % 2]) for i, side in enumerate(box))
    return x0, y0, x1, y1
