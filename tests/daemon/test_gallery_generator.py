"""The generator of galleries: what it draws is what its truth says, whatever the seed."""

from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.demo.cast import ClipsCast, PuppetCast, StillsCast
from daemon.demo.gallery import MOST, SHARES, STAND_S, GalleryScript, make_gallery
from daemon.demo.layouts import apart
from daemon.demo.screens import Screen
from daemon.demo.stage import Stage, pictures, write_gallery
from daemon.errors import UnusableInputError
from daemon.sources.file import Tally, probe, read_frames
from pipeline.tracking import FoundTile, Look, measure_gallery, truth_from_json
from pipeline.types import U8

SIZES = st.sampled_from([(640, 360), (854, 480), (1024, 768), (1280, 720), (1920, 1080)])


class PlainCast:
    """Everybody's camera shows one colour of their own."""

    people = 200

    def picture(self, person: int, time_s: float, size: tuple[int, int]) -> U8:
        """The person's colour, strong in one channel."""
        colour = [40, 40, 40]
        colour[person % 3] = 200
        return np.full((size[1], size[0], 3), colour, dtype=np.uint8)


@pytest.fixture(scope="module")
def puppets() -> PuppetCast:
    """The portraits are cut out once."""
    return PuppetCast(3)


@given(st.integers(0, 10**6), st.integers(1, 40), st.one_of(st.none(), st.integers(1, MOST)), SIZES, st.booleans())
@settings(max_examples=150)
def test_every_script_is_possible(
    seed: int,
    seconds: int,
    people: int | None,
    size: tuple[int, int],
    reflows: bool,  # noqa: FBT001 (Hypothesis gives it by name)
) -> None:
    """Layouts follow each other without a gap, stand long enough, and no tile overlaps another or leaves the picture."""
    script = make_gallery(seed, seconds=seconds, people=people, size=size, reflows=reflows)
    assert script == make_gallery(seed, seconds=seconds, people=people, size=size, reflows=reflows)
    assert script.scenes[0].t0 == 0
    assert script.scenes[-1].t1 == seconds
    for before, after in pairwise(script.scenes):
        assert before.t1 == after.t0
    if len(script.scenes) > 1:
        assert min(scene.t1 - scene.t0 for scene in script.scenes) >= STAND_S - 1e-9
    for scene in script.scenes:
        boxes = [tile.rect for tile in scene.tiles] + ([scene.screen] if scene.screen else [])
        assert scene.tiles
        assert apart(boxes)
        assert len({tile.person for tile in scene.tiles}) == len(scene.tiles)
        assert scene.reflow_s <= 0.4
        for x0, y0, x1, y1 in [*boxes, *(tile.content for tile in scene.tiles)]:
            assert 0 <= x0 < x1 <= size[0]
            assert 0 <= y0 < y1 <= size[1]
        for tile in scene.tiles:
            assert tile.rect[0] <= tile.content[0] < tile.content[2] <= tile.rect[2]
            assert tile.rect[1] <= tile.content[1] < tile.content[3] <= tile.rect[3]
            present = script.people[tile.person].present
            assert any(t0 <= scene.t0 and scene.t1 <= t1 for t0, t1 in present)
    if people is not None and script.scenes[0].screen is None and not script.scenes[0].grid.startswith("speaker"):
        assert len(script.scenes[0].tiles) == people
    if not reflows:
        # Cameras go off and on; nobody moves to another row or comes or goes.
        assert len({tuple((tile.person, tile.rect[1]) for tile in scene.tiles) for scene in script.scenes}) == 1


@given(st.integers(0, 10**6))
@settings(max_examples=60)
def test_its_truth_can_be_measured_and_is_right(seed: int) -> None:
    """What `evaluate gallery` reads of it says the same: tiles of the truth, found as they are, are without fault."""
    script = make_gallery(seed, seconds=25, people=None, fps=5)
    layouts = truth_from_json(script.truth())
    assert [(one.t0, one.t1) for one in layouts] == [(scene.t0, scene.t1) for scene in script.scenes]
    looks = [
        Look(
            number / 5,
            tuple(FoundTile(str(tile.person), was.get(tile.person, tile.rect)) for tile in scene.tiles if tile.camera),
        )
        for number in range(125)
        for index in [script.scene_at(number / 5)]
        for scene in [script.scenes[index]]
        # As tiles set out they stand where they stood.
        for sets_out in [scene.reflow_s > 0 and number / 5 == scene.t0]
        for was in [{tile.person: tile.rect for tile in script.scenes[index - 1].tiles} if sets_out else {}]
    ]
    figures = measure_gallery(layouts, looks)
    wanted = any(tile.camera for scene in script.scenes for tile in scene.tiles)
    assert (figures.tiles.recall, figures.tiles.precision) == ((1, 1) if wanted else (None, None))
    assert (figures.id_switches, figures.n_shared_ids, figures.n_unsettled) == (0, 0, 0)


def test_its_truth_has_the_form_of_a_recorded_meeting() -> None:
    """The keys that readers of such files rely on, and a person's camera by segments."""
    script = next(
        script
        for seed in range(100)
        if (script := make_gallery(seed, seconds=12, people=4)).scenes[0].tiles and not _all_on(script)
    )
    truth = script.truth()
    assert truth["size"] == [1280, 720]
    assert (truth["fps"], truth["duration"]) == (10, 12)
    for layout in truth["layout"]:
        assert set(layout) >= {"t0", "t1", "grid", "tiles"}
        for tile in layout["tiles"]:
            assert set(tile) == {"person", "rect", "content_rect", "name_rect", "camera"}
            on = [
                segment["camera"]
                for segment in truth["people"][tile["person"]]["segments"]
                if segment["t0"] <= layout["t0"] and layout["t1"] <= segment["t1"]
            ]
            assert on == [tile["camera"]]


def _all_on(script: GalleryScript) -> bool:
    return all(tile.camera for scene in script.scenes for tile in scene.tiles)


def test_everything_happens_within_some_scripts() -> None:
    """All layouts, numbers of people up to 49, both kinds of labels, cameras off, all things on a screen, all strips."""
    scripts = [make_gallery(seed, seconds=20, people=None) for seed in range(250)]
    scenes = [scene for script in scripts for scene in script.scenes]
    numbers = {len(scene.tiles) for scene in scenes}
    assert {1, 2, 3, 5, 9} < numbers
    assert max(numbers) == MOST
    words = {word for scene in scenes for word in scene.grid.split()}
    assert {"speaker", "screen", "right", "bottom", "top", "left", "1x1", "2x2", "3x3", "7x6"} < words
    assert {script.share for script in scripts} == set(SHARES)
    assert {script.skin.label for script in scripts} == {"left", "centre", "below", "none"}
    assert {script.skin.last_row for script in scripts} == {"left", "centre"}
    assert {0.0, 0.2, 0.3, 0.4} == {scene.reflow_s for scene in scenes}
    assert any(tile.rect != tile.content for scene in scenes for tile in scene.tiles)
    assert {len(script.scenes) > 1 for script in scripts} == {True, False}
    assert {2, 24} <= {script.skin.gutter for script in scripts}


@pytest.mark.parametrize(
    "wrong", [{"seconds": 0}, {"people": 0}, {"people": 50}, {"fps": 0}, {"size": (200, 100)}, {"size": (640, 90)}]
)
def test_what_cannot_be_drawn_is_told(wrong: dict[str, object]) -> None:
    """One line with what was asked for."""
    asked: dict[str, object] = {"seconds": 5, "people": 3} | wrong
    with pytest.raises(ValueError, match="a gallery has 1 to 49 people"):
        make_gallery(1, **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(12))
def test_pictures_show_what_the_truth_says(seed: int) -> None:
    """In every scene each camera's colour fills its part of the tile, and is nowhere outside of a tile."""
    script = make_gallery(seed, seconds=16, people=7, fps=5)
    stage, cast = Stage(script, PlainCast()), PlainCast()
    for scene in script.scenes:
        number = int((scene.t0 + scene.t1) / 2 * script.fps)
        picture = stage.picture(number)
        assert picture.shape == (720, 1280, 3)
        outside = np.ones((720, 1280), dtype=bool)
        for tile in scene.tiles:
            x0, y0, x1, y1 = tile.rect
            outside[y0:y1, x0:x1] = False
            if not tile.camera:
                continue
            cx0, cy0, cx1, cy1 = tile.content
            # Clear of rounded corners, of the border of who speaks, and of the label.
            seen = picture[cy0 + 12 : (cy0 + cy1) // 2, cx0 + 12 : cx1 - 12].reshape(-1, 3).astype(int)
            wanted = cast.picture(script.face + tile.person, 0, (1, 1))[0, 0]
            assert np.abs(seen - wanted).max() < 12
            assert np.abs(picture[cy0 + 12, cx0 + 7].astype(int) - wanted).max() < 12
        if scene.screen:
            x0, y0, x1, y1 = scene.screen
            outside[y0:y1, x0:x1] = False
        strong = np.sort(picture, axis=2)
        coloured = (strong[..., 2] > 180) & (strong[..., 1] < 60) & outside & (np.arange(720)[:, None] < 640)
        speaker = script.skin.border
        coloured &= np.abs(picture.astype(int) - speaker).max(axis=2) > 8
        assert coloured.sum() == 0


def test_a_reflow_that_slides_is_in_motion_and_then_stands() -> None:
    """Half way nobody is where they were or will be; when it is over the picture is that of the new layout."""
    script = next(
        script
        for seed in range(200)
        if len((script := make_gallery(seed, seconds=14, people=4, fps=10)).scenes) > 1
        and script.scenes[1].reflow_s >= 0.3
        and script.scenes[0].grid != script.scenes[1].grid
    )
    stage = Stage(script, PlainCast())
    start = round(script.scenes[1].t0 * script.fps)
    before, midway, after, later = (stage.picture(start + step).astype(int) for step in (-1, 2, 5, 12))
    changed = [(np.abs(a - b).max(axis=2) > 20).mean() for a, b in ((before, midway), (midway, after), (after, later))]
    assert changed[0] > 0.05
    assert changed[1] > 0.05
    assert changed[2] < 0.03


@pytest.mark.parametrize("share", SHARES)
def test_screens_hold_no_tile_and_their_pages_turn(share: str, puppets: PuppetCast) -> None:
    """Each kind has the size that is asked for, stands still but for a video, and shows something else later."""
    screen = Screen(share, 5, puppets, 50)  # type: ignore[arg-type]
    first, again, later = (screen.picture(time_s, (640, 400)).copy() for time_s in (1.0, 1.2, 9.0))
    assert first.shape == (400, 640, 3)
    assert np.array_equal(first, again) == (share != "video")
    assert not np.array_equal(first, later)
    assert first.std() > 5


def test_puppets_differ_and_move_alike_at_every_size(puppets: PuppetCast) -> None:
    """Two people differ more than one does in two seconds; enlarged, a picture is nearly that of a larger tile."""

    def small(person: int, time_s: float, size: tuple[int, int]) -> np.ndarray:
        picture = puppets.picture(person, time_s, size)
        assert picture.shape == (size[1], size[0], 3)
        return cv2.resize(picture, (64, 36), interpolation=cv2.INTER_AREA).astype(float)

    here = small(1, 1.0, (320, 180))
    assert np.abs(here - small(3, 1.0, (320, 180))).mean() > 15
    assert 0 < np.abs(here - small(1, 3.0, (320, 180))).mean() < 8
    assert np.abs(here - small(1, 1.0, (960, 540))).mean() < 4
    assert np.array_equal(puppets.picture(1, 1.0, (320, 180)), PuppetCast(3).picture(1, 1.0, (320, 180)))
    assert puppets.picture(2, 0.0, (90, 160)).shape == (160, 90, 3)


def test_puppets_are_kept_within_bounds() -> None:
    """Who was drawn longest ago is made again."""
    cast = PuppetCast(1)
    for person in range(12):
        cast.picture(person, 0.0, (640, 360))
    assert [len(kept) for kept in cast._kept.values()] == [0, 10]


def test_stills_are_one_of_each_person(tmp_path: Path) -> None:
    """Names that end in a number are one person; pictures drift, and fill every shape."""
    for name, level in (("ann_1", 60), ("ann_2", 61), ("bob_1", 120), ("solo", 200)):
        picture = np.full((80, 80, 3), level, np.uint8)
        picture[20:60, 20:60] += 40
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    cast = StillsCast(tmp_path)
    assert cast.people == 3
    assert cast.picture(0, 0.0, (160, 90)).shape == (90, 160, 3)
    assert cast.picture(4, 0.0, (90, 160)).shape == (160, 90, 3)
    assert not np.array_equal(cast.picture(0, 0.0, (160, 90)), cast.picture(0, 2.0, (160, 90)))
    assert np.array_equal(cast.picture(0, 1.0, (90, 90)), cast.picture(3, 1.0, (90, 90)))


def test_clips_go_to_and_fro(tmp_path: Path) -> None:
    """A clip of three seconds: what is shown after its end is its last pictures backwards, never a jump."""
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(15):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 16 * level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    cast = ClipsCast(tmp_path)
    levels = [int(cast.picture(0, step / 5, (32, 18)).mean()) for step in range(60)]
    assert max(abs(a - b) for a, b in pairwise(levels)) < 30
    assert min(levels) < 20
    assert max(levels) > 200


@pytest.mark.parametrize("cast", [StillsCast, ClipsCast])
def test_folders_that_will_not_do_are_told(cast: type[StillsCast | ClipsCast], tmp_path: Path) -> None:
    """No folder, nothing in it, or something that cannot be read: one line that says what to do."""
    with pytest.raises(UnusableInputError, match="give a folder of"):
        cast(tmp_path / "gone")
    with pytest.raises(UnusableInputError, match="give a folder of"):
        cast(tmp_path)
    for name in ("broken.png", "broken.mp4"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(UnusableInputError, match=r"cannot be read as a .* take it out of the folder"):
        cast(tmp_path)


def test_a_recording_shows_its_script(tmp_path: Path, puppets: PuppetCast) -> None:
    """As many pictures as the script has, of its size, close to what was drawn."""
    script = make_gallery(6, seconds=2, people=3, fps=5, size=(640, 360))
    path = tmp_path / "gallery.mp4"
    write_gallery(path, script, puppets, crf=23)
    recording = probe(path)
    assert (recording.width, recording.height, recording.fps, recording.codec) == (640, 360, 5.0, "h264")
    frames = list(read_frames(recording, rate_hz=5, hold_s=2.0, tally=Tally()))
    drawn = list(pictures(script, puppets))
    assert len(frames) == len(drawn) == 10
    assert (
        max(np.abs(frame.image.astype(int) - picture).mean() for frame, picture in zip(frames, drawn, strict=True)) < 4
    )


def test_a_recording_needs_even_sides(tmp_path: Path) -> None:
    """H.264 halves its colours."""
    script = make_gallery(1, seconds=1, people=2, size=(641, 360))
    with pytest.raises(ValueError, match="even width and height, not 641x360"):
        write_gallery(tmp_path / "odd.mp4", script, PlainCast(), crf=25)


@given(st.integers(0, 10**4), st.integers(1, MOST))
@settings(max_examples=40)
def test_two_before_a_camera_have_a_half_each(seed: int, people: int) -> None:
    """In the truth as in the picture: both are in the call like the one whose camera it is, and nobody else changes."""
    script = make_gallery(seed, seconds=12, people=people, rooms=True)
    truth = script.truth()
    assert len(script.scenes[0].tiles) <= 6
    assert script.n_faces == len(truth["people"]) == len(script.people) + len(script.rooms)
    assert make_gallery(seed, seconds=12, people=people).rooms == ()
    for scene, shown in zip(script.scenes, truth["layout"], strict=True):
        rects = {tile["person"]: tile["rect"] for tile in shown["tiles"]}
        for tile in scene.tiles:
            x0, y0, x1, y1 = tile.rect
            left = rects[f"p{tile.person + 1}"]
            mate = script.mate(tile.person)
            if mate is None or not tile.camera:
                assert left == [x0, y0, x1 - x0, y1 - y0]
            else:
                right = rects[f"p{mate + 1}"]
                assert (left[:2], right[0], right[0] + right[2]) == ([x0, y0], left[0] + left[2], x1)
                assert abs(left[2] - right[2]) <= 1


def test_two_before_a_camera_are_drawn_side_by_side() -> None:
    """The left half shows the one, the right half whoever follows the others in the cast."""
    seed = next(k for k in range(99) if make_gallery(k, seconds=3, people=3, rooms=True).rooms)
    script = make_gallery(seed, seconds=3, people=3, rooms=True)
    image = next(pictures(script, PlainCast()))
    for tile in script.scenes[0].tiles:
        mate = script.mate(tile.person)
        if mate is not None and tile.camera:
            x0, y0, x1, y1 = tile.content
            for who, x in ((tile.person, (3 * x0 + x1) // 4), (mate, (x0 + 3 * x1) // 4)):
                assert image[(y0 + y1) // 2, x].argmax() == (script.face + who) % 3
