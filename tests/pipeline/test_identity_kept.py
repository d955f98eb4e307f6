"""What is kept of somebody to know them by, for how long, and that erasing reaches it."""

import pytest
from calls import FOUR, NINE, TWO, Call, P, mixed, named
from cameras import camera, layout

from pipeline.identity import TileIdentity
from pipeline.seating import IdentitySettings


def test_what_was_kept_of_a_doubt_goes_with_it() -> None:
    """Whether they are who they were, or somebody else, or came back before that was decided."""
    renamed, other = named(mixed(0, 20, 0.4), 5), named(camera(20), 3)
    for doubtful, after, looks in ((renamed, renamed, 5), (other, other, 5), (other, named(camera(0), 3), 1)):
        call = Call()
        call.show([named(camera(0), 3), 1], TWO, looks=12)
        assert call.identity._places[0].look is None
        call.show([doubtful, 1], TWO)
        place = call.identity._places[0]
        assert place.look is not None
        assert place.name_then is not None
        call.show([after, 1], TWO, looks=looks)
        place = call.identity._places[0]
        assert (place.since_s, place.look, place.name_then) == (None, None, None)
        assert len(place.person.captions) <= (2 if place.person.name == P[0] else 1)


def test_what_was_written_at_the_tile_of_who_left_goes_while_nothing_is_settled() -> None:
    """Three seconds after the re-flow, whether or not a picture shows the layout by then."""
    call = Call()
    call.show([named(camera(0), 3), 1], TWO, looks=12)
    call.show([1], layout(1, 1))
    left = call.identity._people[P[0]]
    assert left.captions
    call.show([1], layout(1, 1), looks=16, settled=False)
    assert left.captions == ()


def pictures_of(identity: TileIdentity) -> list[bytes]:
    """All that is kept of how tiles looked, and of what was written there."""
    people = [*identity._people.values(), *(place.person for place in identity._places)]
    looks = [look for person in people for look in (*person.keys, *(look for _, look in person.recent))]
    looks += [place.look for place in identity._places if place.look is not None]
    captions = [caption for person in people for caption in person.captions]
    captions += [place.name_then for place in identity._places if place.name_then is not None]
    return [look.thumbs.tobytes() for look in looks] + [one.tobytes() for one in captions]


@pytest.mark.parametrize("doubted", [True, False])
def test_of_who_is_erased_nothing_is_left_after_the_next_picture(doubted: bool) -> None:  # noqa: FBT001
    """They keep their id, for what they said holds on, and are remembered anew; of the others nothing is lost."""
    call = Call()
    call.show([named(camera(0), 3), 1], TWO, looks=12)
    if doubted:
        call.show([named(mixed(0, 20, 0.4), 5), 1], TWO)
    everything = pictures_of(call.identity)
    call.identity.forget(P[1])
    others = pictures_of(call.identity)
    call.identity.forget(P[0])
    assert len(pictures_of(call.identity)) < len(others) < len(everything)
    look, *_ = call.identity._places[0].person.lately()
    call.show([named(mixed(0, 20, 0.4), 5) if doubted else named(camera(0, 3), 3), 1], TWO)
    assert call.seats[0].participant == P[0]
    assert call.certain == [not doubted, True]
    call.show([named(camera(0, 4), 3), 1], TWO, looks=5)
    assert [seat.participant for seat in call.seats] == P[:2]
    assert not set(pictures_of(call.identity)) & {look.thumbs.tobytes(), *everything}


def test_who_was_erased_is_followed_through_a_reflow() -> None:
    """By the one picture that is left of them until the next; that it is not."""
    call = Call()
    call.show([0, 1, 2, 3], FOUR, looks=8)
    call.identity.forget(P[0])
    [left] = {look.thumbs.tobytes() for look in call.identity._people[P[0]].known_by()}
    assert call.show([3, 2, 1, 0], NINE[:4]) == [P[3], P[2], P[1], P[0]]
    assert all(call.certain)
    assert left not in pictures_of(call.identity)
    assert call.show([3, 2, 1, 0], NINE[:4], looks=6) == [P[3], P[2], P[1], P[0]]


def test_who_was_erased_and_is_gone_is_known_no_more() -> None:
    """Gone before or right after it: they come back as somebody new. Of nobody known nothing is forgotten."""
    for early in (True, False):
        call = Call()
        call.show([0, 1, 2, 3], FOUR, looks=8)
        if early:
            call.identity.forget(P[3])
        call.show([0, 1, 2], FOUR[:3], looks=6)
        call.identity.forget("p-unknown")
        assert (P[3] in call.identity._people) is not early
        call.identity.forget(P[3])
        assert call.show([0, 1, 2, 3], FOUR, looks=6) == [*P[:3], P[4]]


def test_everybody_is_forgotten_in_the_end() -> None:
    """Nothing is left of anybody."""
    call = Call()
    call.show([0, 1, 2, 3], FOUR, looks=8)
    call.identity.clear()
    assert pictures_of(call.identity) == []


def test_memory_is_bounded_and_what_is_forgotten_is_counted() -> None:
    """Who has been gone for longest is forgotten; nobody who is here is."""
    call = Call(settings=IdentitySettings(n_people=2, lately_s=0.0))
    call.show([0, 1, 2], NINE[:3], looks=2)
    assert call.identity.n_forgotten == 0
    assert call.show([30, 2], TWO, looks=6) == [P[3], P[2]]
    assert call.identity.n_forgotten == 2
    assert call.show([2, 0], FOUR[:2], looks=6) == [P[2], P[4]]
    assert call.identity.n_forgotten == 3
