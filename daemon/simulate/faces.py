"""What a simulated member shows: which faces of the bank, frame by frame, and what both arms read of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.simulate.bank import NEUTRAL, Arm, Bank, Index
from daemon.simulate.params import Params
from daemon.simulate.timeline import KINDS, Bool, Episode, Member
from pipeline.emotions import F32, F64, N_EMOTIONS
from pipeline.quality import FULL_WIDTH_PX, QUALITY_MAX, QUALITY_MIN

_SMALL: Final = "24px"
_SMALL_PX: Final = 24.0


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What a member shows in F frames.

    emotion: (F,) the face that is shown, whether meant or not; felt: (F,) the same without glitches.
    face, before, blend: (F,) the bank's face, the one shown before, and how far the change from that has come, in [0, 1].
    take: (F,) the bank's take, by camera; drift: (F, k) how far along the difference of each other clear take.
    shift_pixel, shift_landmark: (d,) what is added to every embedding: the member's own way to look.
    read: (F,) whether the frame is read at all; mesh: (F,) whether it has a mesh. quality: (F,).
    """

    emotion: NDArray[np.int64]
    felt: NDArray[np.int64]
    face: Index
    before: Index
    blend: F64
    take: Index
    drift: F64
    shift_pixel: F32
    shift_landmark: F32
    read: Bool
    mesh: Bool
    quality: F64

    def embeddings(self, bank: Bank, params: Params) -> tuple[F32, F32]:
        """(F, d) embeddings of the pixel and of the landmark arm; the latter mean nothing where there is no mesh."""
        variation = params.camera.variation
        return (
            self._of(bank.pixel, bank, np.ones(bank.mesh.shape, dtype=np.bool_), variation.pixel) + self.shift_pixel,
            self._of(bank.landmark, bank, bank.mesh, variation.landmark) + self.shift_landmark,
        )

    def probabilities(self, bank: Bank, params: Params) -> tuple[F64, F64]:
        """(F, 7) of the pixel and of the landmark arm, as they enter their mean."""
        pixel, landmark = self.embeddings(bank, params)
        return bank.pixel.pool(pixel), bank.landmark.pool(landmark)

    def _of(self, arm: Arm, bank: Bank, known: Bool, variation: float) -> F32:
        now = self._look(arm, bank, known, self.face, variation)
        rows = np.flatnonzero(self.blend < 1)
        share = self.blend[rows, None].astype(np.float32)
        old = self._look(arm, bank, known, self.before, variation, rows)
        now[rows] = share * now[rows] + (1 - share) * old
        return now

    def _look(self, arm: Arm, bank: Bank, known: Bool, face: Index, variation: float, rows: Index | None = None) -> F32:
        """(m, d) a face in the frame's take, moved along the differences of its clear takes; of some rows, or all."""
        rows = np.arange(len(face)) if rows is None else rows
        faces, others = face[rows], bank.clear[1:]
        here = known[faces[:, None], others]
        # A difference counts only where both takes of it could be read.
        amounts = (variation * self.drift[rows] * here).astype(np.float32)
        # Faces repeat: the differences of each are made once.
        unique, which = np.unique(faces, return_inverse=True)
        differences = arm.embeddings[unique][:, others] - arm.embeddings[unique][:, :1]
        look: F32 = arm.embeddings[faces, self.take[rows]]
        for number in range(len(unique)):
            own = which == number
            look[own] += amounts[own] @ differences[number]
        return look


def show(member: Member, params: Params, bank: Bank, seconds: int, rng: np.random.Generator) -> Shown:
    """What a member shows in a call of so many seconds."""
    rate = params.call.frames_per_second
    times = np.arange(seconds * rate) / rate
    episodes, emotion_felt = _episodes(member, float(seconds))
    own = _own_faces(member.kind, params, bank, rng)
    faces = np.array([own[e.emotion][int(rng.integers(len(own[e.emotion])))] for e in episodes])
    low, high = params.individual.ramp_s
    # What is over soon has no time to come slowly.
    ramps = np.array([min(float(rng.uniform(low, high)), (e.end_s - e.start_s) / 3) for e in episodes])
    at = np.searchsorted([e.start_s for e in episodes], times, side="right") - 1
    before = np.maximum(at - 1, 0)
    since = times - np.array([e.start_s for e in episodes])[at]
    blend = np.where(at > 0, (since / np.maximum(ramps[at], 1e-9)).clip(0, 1), 1.0)
    dominant = np.where(blend >= 0.5, at, before)  # noqa: PLR2004 (half of the way)
    shown = np.array([e.emotion for e in episodes])[dominant]
    condition = _conditions(member, params, times, rng)
    take = _takes(condition, params, bank, rng)
    face = faces[dominant]
    mesh = bank.mesh[face, take]
    read = _readable(params, times, rng) & _within(member.here, times)
    if not params.camera.pixel_without_mesh:
        read &= mesh
    offset = np.array(member.offset_nats)
    return Shown(
        emotion=shown,
        felt=np.array(emotion_felt)[dominant],
        face=faces[at],
        before=faces[before],
        blend=blend,
        take=take,
        drift=_drift(len(times), len(bank.clear) - 1, params.camera.steadiness, rng),
        shift_pixel=_shift(bank.pixel, offset),
        shift_landmark=_shift(bank.landmark, offset),
        read=read,
        mesh=mesh,
        quality=_quality(bank.quality[face, take], condition, params, rng),
    )


def _shift(arm: Arm, offset_nats: F64) -> F32:
    """The step in embeddings that adds an offset to the log-probabilities of an arm alone, on average over the bank."""
    if not offset_nats.any():
        return np.zeros(arm.embeddings.shape[2], dtype=np.float32)
    return arm.head.shift_for(offset_nats * arm.temperature, arm.embeddings[:, 0])


def _own_faces(kind: int, params: Params, bank: Bank, rng: np.random.Generator) -> list[list[int]]:
    """The member's faces of every emotion, as strong as their kind shows it; neutral ones of any kind."""
    intensity = params.members.intensity
    levels = bank.levels(intensity.faint_below, intensity.strong_from)
    mix = np.array(getattr(intensity, KINDS[kind]), dtype=np.float64)
    own: list[list[int]] = []
    for emotion in range(N_EMOTIONS):
        of_emotion = bank.emotion == emotion
        wanted = rng.choice(len(mix), p=mix / mix.sum(), size=params.members.faces_per_emotion).tolist()
        chosen: list[int] = []
        for level in wanted:
            there = np.unique(levels[of_emotion])
            nearest = there[np.abs(there - level).argmin()]
            cell = of_emotion if emotion == NEUTRAL else of_emotion & (levels == nearest)
            rows = [row for row in np.flatnonzero(cell).tolist() if row not in chosen]
            if chosen:
                rows.sort(key=_apart_from(bank, chosen[0]))
                rows = rows[: math.ceil(params.members.faces_among * len(rows))]
            if rows:
                chosen.append(rows[int(rng.integers(len(rows)))])
        own.append(chosen)
    return own


def _apart_from(bank: Bank, face: int) -> Callable[[int], float]:
    return lambda row: float(np.linalg.norm(bank.looks[row] - bank.looks[face]))


def _episodes(member: Member, end_s: float) -> tuple[list[Episode], list[int]]:
    """Faces by time, without gaps or overlaps, and what is felt in each of them.

    A short episode interrupts what is felt; what is felt may change meanwhile.
    """
    starts = [(step.time_s, step.emotion) for step in member.steps if step.time_s < end_s]
    cuts = {time_s for time_s, _ in starts}
    for episode in member.brief:
        cuts |= {episode.start_s, min(episode.end_s, end_s)}
    times = sorted(cut for cut in cuts if cut < end_s)
    found: list[Episode] = []
    felt: list[int] = []
    for start_s, stop_s in zip(times, [*times[1:], end_s], strict=True):
        meant = [emotion for time_s, emotion in starts if time_s <= start_s][-1]
        brief = [e for e in member.brief if e.start_s <= start_s < e.end_s]
        if brief and brief[-1].felt:
            meant = brief[-1].emotion
        emotion = brief[-1].emotion if brief else meant
        if found and found[-1].emotion == emotion and felt[-1] == meant:
            found[-1] = Episode(found[-1].start_s, stop_s, emotion, felt=not brief)
        else:
            found.append(Episode(start_s, stop_s, emotion, felt=not brief))
            felt.append(meant)
    return found, felt


def _conditions(member: Member, params: Params, times: F64, rng: np.random.Generator) -> NDArray[np.str_]:
    """(F,) what is wrong with the picture, empty for nothing."""
    condition = np.full(len(times), member.condition or "", dtype="<U16")
    camera = params.camera
    for start_s, end_s in _spans(camera.bursts_per_minute, camera.burst_lasts_s, times, rng):
        kind = camera.burst_conditions[int(rng.integers(len(camera.burst_conditions)))]
        condition[(times >= start_s) & (times < end_s)] = kind
    return condition


def _takes(condition: NDArray[np.str_], params: Params, bank: Bank, rng: np.random.Generator) -> Index:
    """(F,) the bank's take: as it is, or any of those under the frame's condition."""
    take = np.full(len(condition), bank.clear[0])
    for name in sorted({*params.camera.burst_conditions, *params.camera.poor_conditions}):
        rows = np.flatnonzero(condition == name)
        take[rows] = rng.choice(bank.under(name), size=len(rows))
    return take


def _spans(
    per_minute: float, lasts: tuple[float, float], times: F64, rng: np.random.Generator
) -> list[tuple[float, float]]:
    end_s = len(times) * float(times[1])
    starts = np.sort(rng.uniform(0, end_s, size=int(rng.poisson(per_minute * end_s / 60))))
    return list(zip(starts.tolist(), (starts + rng.uniform(*lasts, size=len(starts))).tolist(), strict=True))


def _within(spans: tuple[tuple[float, float], ...], times: F64) -> Bool:
    inside = np.zeros(len(times), dtype=np.bool_)
    for start_s, end_s in spans:
        inside |= (times >= start_s) & (times < end_s)
    return inside


def _readable(params: Params, times: F64, rng: np.random.Generator) -> Bool:
    """(F,) whether a face is there to be seen: nobody looks away, and no frame is lost."""
    camera = params.camera
    away = _within(tuple(_spans(camera.looks_away_per_minute, camera.looks_away_s, times, rng)), times)
    lost = rng.random(len(times)) < camera.lost_frames_share
    return np.asarray(~away & ~lost)


def _drift(n: int, k: int, steadiness: float, rng: np.random.Generator) -> F64:
    """(n, k) stationary first-order autoregressive series of variance 1."""
    noise = rng.standard_normal((n, k))
    drift = np.empty((n, k))
    drift[0] = noise[0]
    fresh = np.sqrt(1 - steadiness**2)
    for row in range(1, n):
        drift[row] = steadiness * drift[row - 1] + fresh * noise[row]
    return drift


def _quality(of_picture: F64, condition: NDArray[np.str_], params: Params, rng: np.random.Generator) -> F64:
    """(F,) as `pipeline.quality.frame_quality` makes it: what the picture decides, score and width of the face."""
    camera = params.camera
    width = np.where(condition == _SMALL, _SMALL_PX, rng.uniform(*camera.width_px))
    score = rng.uniform(*camera.score, size=len(condition))
    return np.asarray((of_picture * score * np.minimum(1, width / FULL_WIDTH_PX)).clip(QUALITY_MIN, QUALITY_MAX))
