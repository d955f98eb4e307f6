"""`attuned simulate`: counts of right and wrong, figures with intervals, and the command."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from daemon.cli import app
from daemon.errors import FailedError
from daemon.simulate import command, personal_figures, workers
from daemon.simulate.bank import Bank, load_bank
from daemon.simulate.checks import (
    CHECKS,
    against_best,
    at_least,
    best_weight,
    difference,
    exclusive,
    f1,
    mechanisms,
    saved,
    share,
    type_uar,
)
from daemon.simulate.measure import FIXED, STEPS, fingerprint, match, measure_seed
from daemon.simulate.observe import ENGAGED, UNENGAGED, UNKNOWN, floor_tops, observe, raw_tops
from daemon.simulate.params import Params, load_params
from daemon.simulate.reads import face_accuracy
from daemon.simulate.steps import ADAPTIVE, ALL, MEAN
from daemon.simulate.timeline import KINDS
from daemon.simulate.world import NOBODY, World, make_world
from models.errors import ModelError
from models.manifest import WEIGHTS


@cache
def bank() -> Bank:
    """The shipped one."""
    return load_bank()


def short(seconds: int = 60, number: tuple[int, int] = (4, 4)) -> Params:
    """Small calls."""
    values = load_params().model_dump()
    values["call"]["seconds"] = seconds
    values["members"]["number"] = number
    return Params.model_validate(values)


@cache
def small_world() -> World:
    """A minute with four members."""
    return make_world(short(), bank(), 1)


def test_the_engine_is_given_the_call_and_answers_for_every_second() -> None:
    """Whoever has a readable frame in a second has a top class, and nobody else; the group has one from two members on."""
    world = small_world()
    said = observe(world, ALL)
    read = np.stack([own.read.reshape(-1, 5).any(axis=1) for own in world.shown]) & (world.felt != NOBODY)
    assert ((said.top != NOBODY) == read).all()
    assert ((said.group != NOBODY) <= (read.sum(axis=0) >= 2)).all()
    assert set(np.unique(said.state)) <= {UNKNOWN, ENGAGED, UNENGAGED}
    assert said.settled.shape == said.top.shape
    # Nearly everything is settled as it was read: noise is the exception.
    both = (said.settled != NOBODY) & (said.top != NOBODY)
    assert (said.settled == said.top)[both].mean() > 0.8


def test_the_steps_switch_off_what_they_say() -> None:
    """Fixed weights stay at 0.5, adaptive ones move; without engagement nobody is unengaged."""
    world = make_world(short(130, (5, 5)), bank(), 3)
    fixed, adaptive = observe(world, MEAN), observe(world, ADAPTIVE)
    assert (fixed.state != UNENGAGED).all()
    assert (adaptive.state != UNENGAGED).all()
    first = slice(0, 20)
    assert (fixed.top[:, first] == adaptive.top[:, first]).all()
    raw, _ = raw_tops(world)
    assert ((raw != NOBODY) == (fixed.top != NOBODY)).all()


def test_a_raw_top_is_that_of_the_last_frame_that_was_read() -> None:
    """Worked by hand on a call of one second of two members: the last readable frame, both arms counting the same."""
    world = small_world()
    rate = world.rate_hz
    one_second = replace(
        world,
        timeline=replace(world.timeline, seconds=1),
        participants=world.participants[:2],
        shown=tuple(
            replace(own, read=np.array(read), mesh=np.array(mesh))
            for own, read, mesh in zip(
                world.shown[:2],
                ([True, True, True, False, False], [True] * 5),
                ([True] * 5, [True, True, True, True, False]),
                strict=True,
            )
        ),
        felt=np.zeros((2, 1), dtype=np.int8),
        pixel=np.zeros((2, rate, 7)),
        landmark=np.zeros((2, rate, 7)),
    )
    one_second.pixel[0, 2, 3], one_second.landmark[0, 2, 4], one_second.landmark[0, 2, 3] = 0.6, 0.9, 0.1
    one_second.pixel[1, 4, 5], one_second.landmark[1, 4, 6] = 0.7, 1.0  # without a mesh the landmark arm says nothing
    top, group = raw_tops(one_second)
    # 0.5 (0.6 + 0.1) = 0.35 for class 3 against 0.5 * 0.9 = 0.45 for class 4
    assert top.tolist() == [[4], [5]]
    # 0.35, 0.45 and 0.7: class 5
    assert group.tolist() == [5]


def test_nobody_can_read_better_than_the_best_of_all_frames() -> None:
    """Knowing every change and who is engaged leaves fewer errors than the last frame does."""
    wrong = np.zeros(2)
    for seed in range(4):
        world = make_world(short(120), bank(), seed)
        raw, _ = raw_tops(world)
        best, _ = floor_tops(world)
        judged = (world.felt != NOBODY) & (raw != NOBODY)
        wrong += [(raw[judged] != world.felt[judged]).sum(), (best[judged] != world.felt[judged]).sum()]
    assert wrong[1] < wrong[0]


@pytest.mark.parametrize(
    ("true", "said", "expected"),
    [
        ([], [], (0, 0, 0)),
        ([10.4], [12.0], (1, 0, 0)),  # 10 and 12 are two seconds apart
        ([10.4], [13.0], (0, 1, 1)),
        ([10.0, 11.0], [11.0], (1, 1, 0)),
        ([10.0], [9.0, 11.0], (1, 0, 1)),
        # The earliest go together: 10 with 8, 12 with 12. Were 10 paired with 12, 12 would have nobody.
        ([10.0, 12.0], [8.0, 12.0], (2, 0, 0)),
        ([10.0, 11.0, 40.0], [9.0, 13.0, 30.0], (2, 1, 1)),
    ],
)
def test_events_are_matched_one_to_one(true: list[float], said: list[float], expected: tuple[int, int, int]) -> None:
    """Within two seconds, each event once."""
    assert match(true, said) == expected


@given(
    true=st.lists(st.integers(0, 40), max_size=8, unique=True),
    said=st.lists(st.integers(0, 40), max_size=8, unique=True),
)
def test_every_event_is_counted_once(true: list[int], said: list[int]) -> None:
    """Found and missed are all true ones, found and false all that were said, whatever their order."""
    found, missed, false = match([float(t) for t in true], [float(t) for t in said])
    assert found + missed == len(true)
    assert found + false == len(said)
    assert match([float(t) for t in true[::-1]], [float(t) for t in said[::-1]]) == (found, missed, false)


def test_figures_by_hand() -> None:
    """Shares, differences, savings, F1 and recall over types, of sums."""
    sums = np.array([30.0, 21.0, 100.0])
    assert share()(sums) == pytest.approx(0.3)
    assert difference(0, 1)(sums) == pytest.approx(-0.09)
    assert saved(0, 1)(sums) == pytest.approx(0.3)
    # Of 80 + 6 + 4 that either reads right 6 and 4 are one's alone.
    table_1 = np.array([80.0, 6.0, 4.0, 10.0, 100.0])
    assert exclusive(1)(table_1) == pytest.approx(6 / 90)
    assert exclusive(2)(table_1) == pytest.approx(4 / 90)
    assert difference(2, 1)(table_1) == pytest.approx(0.02)
    # 2 * 6 / (2 * 6 + 2 + 4) = 12 / 18
    assert f1(np.array([6.0, 2.0, 4.0])) == pytest.approx(2 / 3)
    table = np.zeros((4, 5))
    table[0, 0], table[0, 4] = 6, 2  # three quarters of the first, no answer for the rest
    table[3, 3], table[3, 2] = 1, 3  # a quarter of the last; the other two are never true
    assert type_uar(table.ravel()) == pytest.approx(0.5)
    assert np.isnan(share()(np.zeros(2)))
    assert np.isnan(type_uar(np.zeros(20)))


def test_the_best_weight_is_that_with_the_fewest_errors() -> None:
    """Of 21 weights the third, 0.1, leaves 5 of 100 wrong, adaptive ones 8: three points worse."""
    errors = np.full(21, 20.0)
    errors[2] = 5.0
    sums = np.array([8.0, *errors, 100.0])
    assert against_best(sums) == pytest.approx(-0.03)
    assert best_weight(sums) == pytest.approx(0.1)


def made_up_counts(members: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
    """Counts of a seed in which everything but the members' errors is nothing."""
    lengths = {"members": 6, "group": 6, "group_online": 3, "type": 20, "type_settled": 20, "type_whole_calls": 20}
    lengths |= {"events_group": 3, "events_individual": 3}
    lengths |= {f"adaptive_{kind}": 3 for kind in ("faint", "ordinary", "exaggerated")}
    lengths |= {f"weights_{kind}": len(FIXED) + 2 for kind in KINDS}
    lengths |= {f"learned_{kind}": 5 for kind in (*KINDS, "all")}
    counts = {check.counts: (0.0,) * lengths.get(check.counts, 2) for check in CHECKS.values()}
    return counts | {"members": members}


def test_intervals_are_over_seeds_and_differences_are_paired() -> None:
    """Two seeds of very different difficulty that gain the same: a sure difference of unsure shares."""
    seeds = [made_up_counts((50, 40, 40, 40, 30, 100)), made_up_counts((20, 10, 10, 10, 14, 100))]
    found = mechanisms(seeds)
    raw = found["members_wrong_raw"]
    assert raw == {"value": 0.35, "ci95": [0.2, 0.5], "n": 200, "must": None, "reached": None}
    gain = found["members_mean_against_raw"]
    assert gain == {"value": -0.1, "ci95": [-0.1, -0.1], "n": 200, "must": "<= 0", "reached": True}
    # 1 - 44 / 70
    assert found["members_errors_saved"]["value"] == pytest.approx(0.371429)
    assert found["members_errors_saved"]["n"] == 70
    assert found["members_errors_saved"]["reached"] is True
    # What cannot be judged is not reached.
    assert found["labels_right"] == {"value": None, "ci95": None, "n": 0, "must": ">= 0.85", "reached": False}
    json.dumps(found, allow_nan=False)


def test_what_must_be_is_held_against_the_value() -> None:
    """The words and the verdict belong together."""
    words, verdict = at_least(0.85)
    assert words == ">= 0.85"
    assert [verdict(value, 0, 1) for value in (0.84, 0.85)] == [False, True]
    better = CHECKS["adaptive_gain_faint"].verdict
    assert better is not None
    assert [better(0.1, low, 0.2) for low in (-0.01, 0.01)] == [False, True]
    chance = CHECKS["synchrony_size"].verdict
    assert chance is not None
    assert [chance(0.07, low, 0.1) for low in (0.04, 0.06)] == [True, False]


@pytest.mark.timeout(240)  # a dozen simulated calls, on a machine that may be busy
def test_a_seed_has_counts_for_every_check_and_the_same_ones_again() -> None:
    """Nothing is missing, nothing is negative, and a second time gives the same."""
    params = short(190)
    counts = measure_seed(params, bank(), 0)
    assert set(counts) == {check.counts for check in CHECKS.values()}
    assert all(value >= 0 for values in counts.values() for value in values)
    assert len(counts["members"]) == len(STEPS) + 1
    assert max(counts["members"][:-1]) <= counts["members"][-1]
    assert fingerprint(params, bank(), 0) == fingerprint(params, bank(), 0)
    assert fingerprint(params, bank(), 0) != fingerprint(params, bank(), 1)


def test_the_table_of_faces_covers_the_bank() -> None:
    """A row for every intensity and condition; strong faces as they are read better than faint ones by either arm."""
    rows = face_accuracy(bank(), load_params())
    assert len(rows) == 4 * 6
    of = {(row["intensity"], row["condition"]): row for row in rows}
    for arm in ("pixel", "landmark", "fused"):
        assert of["strong", "as-is"][arm] > of["faint", "as-is"][arm]
    assert all(row["gain"] is None or row["gain"] >= 0 for row in rows)
    json.dumps(rows, allow_nan=False)


@pytest.fixture
def folder_with(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder with the shipped manifest and a bank some arrays of which are changed or left out."""

    def make(**arrays: Any) -> Path:  # noqa: ANN401 (whatever an array is made of)
        (tmp_path / "manifest.toml").write_bytes((WEIGHTS / "manifest.toml").read_bytes())
        with np.load(WEIGHTS / "bank.npz") as shipped:
            kept = {name: shipped[name] for name in shipped.files} | arrays
        np.savez(tmp_path / "bank.npz", **{name: array for name, array in kept.items() if array is not None})
        return tmp_path

    return make


def test_a_bank_of_other_models_is_refused(folder_with: Callable[..., Path]) -> None:
    """Hashes tell; so do arrays and classes that are missing."""
    with pytest.raises(ModelError, match="made with other models"):
        load_bank(folder_with(models=np.array(["a", "b"])))
    with pytest.raises(ModelError, match="lacks 'pixel_head_w1'"):
        load_bank(folder_with(pixel_head_w1=None))
    with pytest.raises(ModelError, match="no face of disgust"):
        load_bank(folder_with(emotion=np.where(bank().emotion == 1, 0, bank().emotion)))


def test_a_bank_that_is_missing_or_damaged_is_told(tmp_path: Path) -> None:
    """In one line that says what to do."""
    (tmp_path / "manifest.toml").write_bytes((WEIGHTS / "manifest.toml").read_bytes())
    with pytest.raises(ModelError, match=r"bank.npz is missing; reinstall attuned"):
        load_bank(tmp_path)
    (tmp_path / "bank.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ModelError, match=r"bank.npz is damaged; reinstall attuned"):
        load_bank(tmp_path)


OTHERS = sorted((Path(__file__).parents[2] / "benchmarks" / "groups").glob("*.yaml"))


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_the_other_groups_are_groups(path: Path) -> None:
    """Each is another set of parameters that can be simulated, and says what it is for."""
    assert len(OTHERS) == 3
    params = load_params(path)
    assert params != load_params()
    assert path.read_text().startswith("# ")


def write_params(path: Path) -> str:
    """A file with very small calls."""
    path.write_text("call: {seconds: 60}\nmembers: {number: [4, 4]}\n")
    return str(path)


@pytest.mark.timeout(240)  # five processes, each with its own numpy, on a machine that may be busy
def test_the_command_gives_one_json_object(tmp_path: Path) -> None:
    """Mechanisms, faces, parameters and seeds; the same bytes whatever the number of processes."""
    arguments = ["simulate", "--params", write_params(tmp_path / "small.yaml"), "--seeds", "2", "--json"]
    one, two = (CliRunner().invoke(app, [*arguments, "--jobs", jobs]) for jobs in ("1", "2"))
    assert one.exit_code == 0, one.output
    assert one.stdout == two.stdout
    result = json.loads(one.stdout)
    assert set(result) == {"schema", "mechanisms", "types", "faces", "parameters", "seeds"}
    assert result["seeds"] == 2
    assert result["parameters"]["call"]["seconds"] == 60
    assert set(result["mechanisms"]) == {*CHECKS, "determinism"}
    assert result["mechanisms"]["determinism"]["reached"] is True
    for figure in result["mechanisms"].values():
        assert set(figure) == {"value", "ci95", "n", "must", "reached"}
    assert np.sum(result["types"]["type"]["seconds"]) == 2 * 60
    lines = command.format_simulation(result).splitlines()
    assert any(line.startswith("members_errors_saved") for line in lines)
    assert lines[-1] == "2 seeds"


@pytest.mark.parametrize(
    ("text", "told"), [("cal: 1", "cal: no such parameter"), ("call: {seconds: 1}", "call.seconds")]
)
def test_bad_parameters_end_the_command(tmp_path: Path, text: str, told: str) -> None:
    """One line on stderr, exit code 2."""
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    result = CliRunner().invoke(app, ["simulate", "--params", str(path), "--seeds", "1"])
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert told in line


@pytest.mark.parametrize(("asked", "seconds"), [((), 1800), (("--minutes", "60"), 3600)])
def test_calls_of_personal_heads_have_their_own_length(
    monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...], seconds: int
) -> None:
    """Half an hour unless asked for otherwise."""
    played: list[dict[str, object]] = []

    def run(params: Path | None, **given: object) -> dict[str, object]:
        played.append({"params": params} | given)
        return {}

    monkeypatch.setattr(personal_figures, "run_personal_simulation", run)
    monkeypatch.setattr(personal_figures, "format_personal_simulation", lambda _: "a table")
    result = CliRunner().invoke(app, ["simulate", "--personal", "--seeds", "3", "--jobs", "2", *asked])
    assert (result.exit_code, result.stdout) == (0, "a table\n")
    assert played == [{"params": None, "n_seeds": 3, "jobs": 2, "seconds": seconds}]


def test_minutes_are_those_of_calls_of_personal_heads() -> None:
    """Elsewhere they are refused, for the length of other calls is one of the parameters."""
    result = CliRunner().invoke(app, ["simulate", "--minutes", "60"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--minutes goes with --personal" in result.stderr


def children_of(pid: int) -> list[int]:
    """Processes that this one has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # gone meanwhile
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(path.parent.name))
    return found


def until(happened: Callable[[], bool], within_s: float) -> None:
    """Waits for something of other processes."""
    end_s = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < end_s
        time.sleep(0.1)


@pytest.mark.timeout(120)
def test_no_process_outlives_the_command() -> None:
    """Not even when it is killed."""
    command_line = [sys.executable, "-m", "daemon", "simulate", "--seeds", "3", "--jobs", "1"]
    with subprocess.Popen(command_line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            # The worker, and the tracker of what the two share.
            until(lambda: len(children_of(process.pid)) == 2, within_s=60)
            time.sleep(3)  # the worker takes its first seed
            children = children_of(process.pid)
        finally:
            process.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), within_s=40)


def test_a_process_that_dies_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of a traceback."""

    class Broken:
        """A pool whose processes die."""

        def __init__(self, *arguments: object, **options: object) -> None:
            pass

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *details: object) -> None:
            pass

        def submit(self, *arguments: object) -> "Broken":
            return self

        def result(self) -> object:
            raise workers.BrokenProcessPool

        def shutdown(self, **options: object) -> None:
            pass

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Broken)
    with pytest.raises(FailedError, match="give fewer --jobs"):
        command.simulate(None, 1, 1, lambda _done, _total: None)
