"""Learned weights: what they are learned from, and the command."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from config.settings import load_settings
from daemon.assembly import call_settings, models_of
from daemon.simulate.bank import Bank, load_bank
from daemon.simulate.learn import best_weight, main, rows_of
from daemon.simulate.observe import observe
from daemon.simulate.params import Params, load_params
from daemon.simulate.steps import ADAPTIVE, learned
from daemon.simulate.world import NOBODY, World, make_world
from models.weighing import FILE, load_weights
from pipeline.call import weight_rule
from pipeline.fusion import AdaptiveWeights
from pipeline.learned_weights import FEATURES, LearnedWeights


@cache
def bank() -> Bank:
    """The shipped one."""
    return load_bank()


def short(seconds: int = 120) -> Params:
    """Small calls."""
    values = load_params().model_dump()
    values["call"]["seconds"] = seconds
    values["members"]["number"] = (4, 4)
    return Params.model_validate(values)


@cache
def world() -> World:
    """Two minutes with four members."""
    return make_world(short(), bank(), 1)


def test_the_best_weight_by_hand() -> None:
    """Happy: pixels say 0.5, landmarks 0.9. apart = 0.4 there and -0.4 of neutral: w = (0.4 0.5 + 0.4 0.5) / 0.32 = 1.25.

    In the next second it is neutral: (0.4 (0 - 0.5) + -0.4 (1 - 0.5)) / 0.32 = -1.25. Both together: 0, twice as curved.
    """
    said = observe(world(), ADAPTIVE)
    pixel, landmark = np.full_like(said.pixel, np.nan), np.full_like(said.landmark, np.nan)
    pixel[0, :2] = [[0, 0, 0, 0.5, 0, 0, 0.5]] * 2
    landmark[0, :2] = [[0, 0, 0, 0.9, 0, 0, 0.1]] * 2
    felt = np.full_like(world().felt, NOBODY)
    felt[0, :2] = [3, 6]
    made_up, said = replace(world(), felt=felt), replace(said, pixel=pixel, landmark=landmark)
    assert best_weight(made_up, said, 0, 1) == pytest.approx((-1.25, 0.32))
    assert best_weight(made_up, said, 0, 0) == pytest.approx((0.0, 0.64))
    assert best_weight(made_up, said, 0, 2) is None
    assert best_weight(made_up, replace(said, landmark=pixel), 0, 0) is None


def test_a_call_teaches_with_every_update() -> None:
    """Features as they are used, at each of the eleven updates from second 20 on; weights that matter, and finite."""
    rows = list(rows_of(world()))
    assert 4 * 5 <= len(rows) <= 4 * 11
    assert all(features.shape == (len(FEATURES),) and np.isfinite(features).all() for features, _, _ in rows)
    assert all(np.isfinite(best) and curved > 0 for _, best, curved in rows)


@pytest.mark.timeout(240)  # four simulated calls, on a machine that may be busy
def test_the_command_writes_the_same_weights_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fixed seeds: the same bytes, which the engine can use; nothing on stdout."""
    params = tmp_path / "short.yaml"
    params.write_text("call: {seconds: 120}\nmembers: {number: [4, 4]}\n")
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        assert main(["--params", str(params), "--seeds", "1", "--out", str(folder)]) == 0
        written.append((folder / FILE).read_bytes())
    assert written[0] == written[1]
    output = capsys.readouterr()
    assert output.out == ""
    assert "disagreement" in output.err
    settings = replace(learned(), learned=load_weights(tmp_path / "one"))
    rule, other = observe(world(), ADAPTIVE), observe(world(), settings)
    assert (rule.top[:, :20] == other.top[:, :20]).all()
    assert (rule.pixel[~np.isnan(rule.pixel)] == other.pixel[~np.isnan(other.pixel)]).all()


@pytest.mark.parametrize(
    ("text", "told"),
    [("cal: 1", "cal: no such parameter"), ("camera: {score: [0.0, 0.0], lost_frames_share: 1.0}", "too short")],
)
def test_what_cannot_be_learned_from_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    """One line, exit code 2, and no file."""
    params = tmp_path / "bad.yaml"
    params.write_text(f"{text}\n" + ("" if "cal:" in text else "call: {seconds: 60}\nmembers: {number: [4, 4]}\n"))
    assert main(["--params", str(params), "--seeds", "1", "--out", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(("rule", "expected"), [("adaptive", AdaptiveWeights), ("learned", LearnedWeights)])
def test_the_configuration_chooses_what_weighs(rule: str, expected: type) -> None:
    """From `fusion.rule` to the weights of a call."""
    settings = load_settings(overrides={"fusion": {"rule": rule}})
    assert type(weight_rule(call_settings(settings, models_of(settings)))) is expected


def test_no_seeds_is_a_mistake() -> None:
    """Told by the parser."""
    with pytest.raises(SystemExit) as caught:
        main(["--seeds", "0"])
    assert caught.value.code == 2
