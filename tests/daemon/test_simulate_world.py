"""Simulated calls: what is said to be felt is what is shown, and the same seed gives the same call."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.simulate.bank import Bank, load_bank
from daemon.simulate.params import Params, load_params
from daemon.simulate.timeline import Change, Plan, draw_timeline, is_here
from daemon.simulate.world import NOBODY, TYPES, World, make_world
from pipeline.emotions import EMOTIONS

SHORT: dict[str, Any] = {"call": {"seconds": 80, "frames_per_second": 5}}
NEUTRAL = EMOTIONS.index("neutral")


@cache
def bank() -> Bank:
    """The shipped one."""
    return load_bank()


def params(**sections: dict[str, Any]) -> Params:
    """The shipped parameters with a short call, and other values in some sections."""
    values = load_params().model_dump()
    for name, section in (SHORT | sections).items():
        values[name] = values[name] | section
    return Params.model_validate(values)


def calm(**sections: dict[str, Any]) -> Params:
    """A call in which nothing happens but what the group does, and every frame is read and like the others."""
    quiet = params(
        members={
            "unengaged_share": 0.0, "style_nats": 0.0, "faces_per_emotion": 1,
            "behaviours": {"share": 0.0, "every_s": (20, 50), "lasts_s": (1, 2)},
            "presence": load_params().members.presence.model_dump() | {"late_share": 0.0, "leaves_share": 0.0, "away_share": 0.0},
            "resting": {"share": 0.0, "emotions": ("sadness",), "strength_nats": (1, 1)},
        },
        individual={"changes_per_minute": 0.0, "glitches_per_minute": 0.0},
        camera={
            "variation": {"pixel": 0.0, "landmark": 0.0}, "poor_share": 0.0, "bursts_per_minute": 0.0,
            "looks_away_per_minute": 0.0, "lost_frames_share": 0.0,
        },
    )  # fmt: skip
    values = quiet.model_dump()
    for name, section in sections.items():
        values[name] = values[name] | section
    return Params.model_validate(values)


def same(one: World, other: World) -> bool:
    """Whether two calls are the same to the last bit."""
    arrays: list[Callable[[World], Any]] = [
        lambda w: w.felt, lambda w: w.pixel, lambda w: w.landmark, lambda w: w.group, lambda w: w.polarised,
        lambda w: np.stack([own.read for own in w.shown]), lambda w: np.stack([own.quality for own in w.shown]),
    ]  # fmt: skip
    return one.timeline == other.timeline and all(of(one).tobytes() == of(other).tobytes() for of in arrays)


def test_the_same_seed_gives_the_same_bytes_and_another_one_others() -> None:
    """Nothing but parameters, seed and stream decide."""
    first = make_world(params(), bank(), 3)
    assert same(first, make_world(params(), bank(), 3))
    assert first.timeline != make_world(params(), bank(), 4).timeline
    assert first.timeline != make_world(params(), bank(), 3, stream=1).timeline


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_a_call_is_what_its_parameters_say(seed: int) -> None:
    """Members, probabilities, qualities, phases and truth are within their bounds and fit each other."""
    given_params = params()
    world = make_world(given_params, bank(), seed)
    n, seconds = world.felt.shape
    assert given_params.members.number[0] <= n <= given_params.members.number[1]
    assert seconds == 80
    for arm in (world.pixel, world.landmark):
        assert arm.shape == (n, seconds * 5, 7)
        np.testing.assert_allclose(arm.sum(axis=-1), 1)
    assert sorted(TYPES[k] for k in world.type[::20]) == sorted(given_params.group.types)
    for phase in world.timeline.phases:
        half = np.mean(phase.engaged) > 0.5 if phase.type != "unengaged" else np.mean(phase.engaged) < 0.5
        assert half
    assert set(np.unique(world.felt)) <= set(range(-1, 7))
    for second in range(seconds):
        feels = world.felt[:, second][world.engaged[:, second] & (world.felt[:, second] != NOBODY)]
        values, counts = np.unique(feels, return_counts=True)
        if world.group[second] != NOBODY:
            assert world.group[second] == values[counts.argmax()]
            assert (counts == counts.max()).sum() == 1
        if world.polarised[second] == 1:
            assert len(values) >= 2
            assert counts.min() >= 2
        for reading in world.readings(second):
            assert 0.05 <= reading.quality <= 1
            assert int(reading.time_s) == second
            assert reading.participant in world.here(second)
            assert reading.landmark is not None  # the daemon reads no frame without a mesh


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_true_changes_are_changes_of_what_is_felt(seed: int) -> None:
    """Whoever makes a change is in the call, and feels something else afterwards than before."""
    world = make_world(calm(), bank(), seed)
    seconds = world.n_seconds
    for change in world.timeline.changes:
        assert change.scope == ("group" if len(change.members) > 1 else "individual")
        for i in change.members:
            # A member's lag within the group's change is up to two seconds, a ramp one more.
            before, after = max(0, int(change.time_s) - 1), min(seconds - 1, int(change.time_s) + 3)
            assert is_here(world.timeline.members[i], change.time_s)
            felt = world.felt[i, before : after + 1]
            # Nothing is known of what was before the first second or comes after the last.
            assert len(np.unique(felt)) > 1 or before == 0 or after == seconds - 1


def test_what_is_felt_is_what_is_shown_without_glitches() -> None:
    """In calm members the face of every frame is of the emotion that is felt."""
    world = make_world(calm(), bank(), 0)
    for own in world.shown:
        assert (own.emotion == own.felt).all()
        whole = own.blend == 1
        assert (bank().emotion[own.face[whole]] == own.felt[whole]).all()


def test_glitches_are_shown_and_not_felt() -> None:
    """They change faces for up to two seconds, and no truth."""
    quiet = make_world(calm(), bank(), 0)
    noisy = make_world(calm(individual={"glitches_per_minute": 6.0, "glitch_lasts_s": (0.5, 2.0)}), bank(), 0)
    shown = np.concatenate([own.emotion != own.felt for own in noisy.shown])
    assert 0.02 < shown.mean() < 0.3
    # What the group does is drawn before.
    assert noisy.timeline.group == quiet.timeline.group
    assert [m.steps for m in noisy.timeline.members] == [m.steps for m in quiet.timeline.members]
    for own in noisy.shown:
        edges = np.flatnonzero(np.diff((own.emotion != own.felt).astype(int), prepend=0, append=0))
        assert (np.diff(edges)[::2] <= 4 * 5).all()  # two that touch look like one


def test_behaviours_are_felt() -> None:
    """They are short, come back, and count as true."""
    behaviours = {"share": 1.0, "every_s": (10, 10), "lasts_s": (2, 2)}
    values = calm().model_dump()
    values["members"]["behaviours"] = behaviours
    values["group"]["types"] = ("unengaged",)
    values["group"]["changes_every_s"] = (600, 600)
    world = make_world(Params.model_validate(values), bank(), 1, Plan(everybody_stays=True))
    for i, member in enumerate(world.timeline.members):
        assert [episode.start_s for episode in member.brief] == [10, 20, 30, 40, 50, 60, 70]
        emotion = member.brief[0].emotion
        assert {episode.emotion for episode in member.brief} == {emotion}
        assert (world.felt[i] == emotion).sum() >= 7


def test_somebody_who_comes_late_or_leaves_is_absent_and_not_neutral() -> None:
    """Their truth is nobody, and no reading is made of them."""
    values = params().model_dump()
    values["members"]["presence"] |= {"late_share": 1.0, "leaves_share": 1.0, "away_share": 1.0, "away_s": (5, 5)}
    world = make_world(Params.model_validate(values), bank(), 0)
    for felt in world.felt:
        assert felt[0] == NOBODY
        assert felt[-1] == NOBODY
        inside = felt[felt.tolist().index(next(k for k in felt if k != NOBODY)) :]
        assert (inside == NOBODY).sum() >= 5
    assert list(world.readings(0)) == []
    assert world.here(0) == ()


def test_a_homogeneous_group_feels_the_same() -> None:
    """With nothing of their own, and everybody going along, members differ by their lags alone."""
    together = calm(
        group={"follow": {"engaged": 1.0, "synchronous": 1.0, "homogeneous": 1.0}, "lag_s": (0, 0), "lag_jitter_s": 0}
    )
    world = make_world(together, bank(), 2, Plan(types=("homogeneous",), unengaged=0))
    assert (world.felt == world.felt[0]).mean() > 0.97
    assert all(change.scope == "group" for change in world.timeline.changes)
    assert (world.polarised == 0).mean() > 0.95


def test_a_polarised_group_has_two_camps() -> None:
    """Each of two or more, each of one emotion that is not the other's, and they change together."""
    split = calm(
        members=calm().members.model_dump() | {"number": (6, 6)},
        group={
            "follow": {"engaged": 1.0, "synchronous": 1.0, "homogeneous": 1.0}, "polarised_share": 1.0,
            "lag_s": (0, 0), "lag_jitter_s": 0,
        },
    )  # fmt: skip
    world = make_world(split, bank(), 0, Plan(types=("synchronous",), unengaged=0))
    (phase,) = world.timeline.phases
    camps = np.array(phase.camp)
    assert sorted(set(phase.camp)) == [0, 1]
    assert min((camps == 0).sum(), (camps == 1).sum()) >= 2
    # Before the first change of the group everybody is neutral.
    first = int(world.timeline.group[0][0]) + 2
    assert (world.polarised[first:] == 1).mean() > 0.95
    for camp in (0, 1):
        own = world.felt[camps == camp][:, first:]
        assert (own == own[0]).mean() > 0.95


def test_unengaged_members_do_not_follow() -> None:
    """Their changes have no cause in the group; planned ones stay so the whole call, never half of the group."""
    world = make_world(calm(), bank(), 5, Plan(types=("homogeneous",), unengaged=9))
    (phase,) = world.timeline.phases
    apart = np.flatnonzero(~np.array(phase.engaged))
    assert 0 < len(apart) < len(phase.engaged) / 2
    for i in apart:
        assert all(step.cause == -1 for step in world.timeline.members[i].steps)
    assert not world.engaged[apart].any()


def test_who_follows_nothing_does_not_follow_the_beginning_of_the_call_either() -> None:
    """What unengaged members feel first, and how soon they change, is as at any later time.

    If all began neutral and waited, those who have nothing in common would share a beginning, which a test of synchrony
    is right to find. Within four standard errors.
    """
    many = calm(
        members=calm().members.model_dump() | {"number": (49, 49)},
        group={"engaged_share_when_unengaged": 0.0},
        call={"seconds": 300, "frames_per_second": 1},
    )
    alone = [
        member.steps
        for seed in range(40)
        for member in draw_timeline(many, Plan(types=("unengaged",)), np.random.default_rng(seed)).members
    ]
    n = len(alone)

    def neutral(time_s: float) -> float:
        return sum([s.emotion for s in steps if s.time_s <= time_s][-1] == NEUTRAL for steps in alone) / n

    def changes(start_s: float) -> float:
        return sum(start_s < s.time_s <= start_s + 10 for steps in alone for s in steps) / n

    assert abs(neutral(0) - neutral(250)) < 4 * (2 * 0.25 * 0.75 / n) ** 0.5
    for start_s in (0, 10, 20):
        assert abs(changes(start_s) - changes(250)) < 4 * (2 * 0.4 / n) ** 0.5


def test_a_resting_face_leans_to_its_emotion_by_what_it_is_said_to() -> None:
    """The head's log-odds for sadness rise by the strength, on average over the bank, and by embeddings a head can see."""
    values = calm().model_dump()
    values["members"]["resting"] = {"share": 0.0, "emotions": ("sadness",), "strength_nats": (1.2, 1.2)}
    resting = Params.model_validate(values)
    world = make_world(resting, bank(), 0, Plan(types=("homogeneous",), unengaged=2, resting="sadness"))
    member, own = world.timeline.members[0], world.shown[0]
    sadness = EMOTIONS.index("sadness")
    assert member.resting == sadness
    assert member.offset_nats == tuple(1.2 if k == sadness else 0.0 for k in range(7))
    assert [other.resting for other in world.timeline.members[1:]] == [None] * (len(world.participants) - 1)
    assert world.engaged[0].all()
    for arm, shift in ((bank().pixel, own.shift_pixel), (bank().landmark, own.shift_landmark)):
        as_is = arm.embeddings[:, 0]
        gain = (arm.head.logits(as_is + shift) - arm.head.logits(as_is)) / arm.temperature
        others = np.delete(gain, sadness, axis=1).mean(axis=1)
        assert (gain[:, sadness] - others).mean() == pytest.approx(1.2, rel=0.2)


def test_frames_of_one_expression_differ_as_much_as_they_are_said_to() -> None:
    """Without variation all frames of an episode are the same; with it they spread, and twice as far with twice of it."""

    def spread(amount: float) -> float:
        values = calm().model_dump()
        values["camera"]["variation"] = {"pixel": amount, "landmark": amount}
        given_params = Params.model_validate(values)
        world = make_world(given_params, bank(), 0)
        total = []
        for own in world.shown:
            pixel, _ = own.embeddings(bank(), given_params)
            steady = (own.blend == 1).reshape(-1, 5).all(axis=1) & (np.ptp(own.face.reshape(-1, 5), axis=1) == 0)
            total.append(pixel.reshape(-1, 5, 256)[steady].std(axis=1).mean())
        return float(np.mean(total))

    assert spread(0.0) < 1e-6
    assert spread(2.0) == pytest.approx(2 * spread(1.0), rel=1e-3)


def test_a_poor_camera_shows_poor_takes_and_loses_meshes() -> None:
    """Frames are read where a mesh was found; or, if so wished, by the pixel model alone."""
    values = calm().model_dump()
    values["camera"] |= {"poor_share": 1.0, "poor_conditions": ("noise",)}
    world = make_world(Params.model_validate(values), bank(), 0)
    takes = {bank().takes[take] for own in world.shown for take in own.take.tolist()}
    assert takes == {"noise"}
    assert not all(own.read.all() for own in world.shown)
    values["camera"]["pixel_without_mesh"] = True
    alone = make_world(Params.model_validate(values), bank(), 0)
    assert all(own.read.all() for own in alone.shown)
    assert any(reading.landmark is None for second in range(80) for reading in alone.readings(second))


def test_small_faces_have_low_quality() -> None:
    """Of a face of 24 px the width alone leaves three eighths."""
    values = calm().model_dump()
    values["camera"] |= {"poor_share": 1.0, "poor_conditions": ("24px",)}
    world = make_world(Params.model_validate(values), bank(), 0)
    assert max(own.quality.max() for own in world.shown) <= 24 / 64


def test_emotions_without_a_share_are_felt_only_where_nothing_else_is_left() -> None:
    """The group changes among those that have one."""
    values = calm().model_dump()
    values["group"]["emotions"] = {"happiness": 1.0, "neutral": 1.0, "surprise": 1.0}
    world = make_world(Params.model_validate(values), bank(), 0)
    allowed = {EMOTIONS.index(name) for name in ("happiness", "neutral", "surprise")}
    assert {emotion for _, emotion in world.timeline.group} <= allowed
    # The second camp of a split has one of three left at least once in a while.
    assert (np.isin(world.felt, [*allowed, NOBODY])).mean() > 0.8


def test_members_of_every_kind_show_what_their_kind_shows() -> None:
    """Faint members have faint faces where the bank has them; neutral ones are anybody's."""
    for k, kind in enumerate(("faint", "ordinary", "exaggerated")):
        values = calm().model_dump()
        values["members"]["expressivity"] = {"faint": 0.0, "ordinary": 0.0, "exaggerated": 0.0} | {kind: 1.0}
        values["members"]["intensity"][kind] = tuple(float(level == k) for level in range(3))
        world = make_world(Params.model_validate(values), bank(), 1)
        assert {member.kind for member in world.timeline.members} == {k}
        levels = bank().levels(0.7, 0.9)
        happy = EMOTIONS.index("happiness")
        faces = np.unique(np.concatenate([own.face for own in world.shown]))
        assert {int(levels[face]) for face in faces if bank().emotion[face] == happy} <= {k}


def test_events_are_dated_in_order() -> None:
    """Changes come by time, and a change of the group names each member once."""
    world = make_world(params(), bank(), 7)
    changes: tuple[Change, ...] = world.timeline.changes
    assert [change.time_s for change in changes] == sorted(change.time_s for change in changes)
    assert all(len(set(change.members)) == len(change.members) for change in changes)
