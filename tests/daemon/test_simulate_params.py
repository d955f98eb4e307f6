"""Parameters of simulated groups: bounds, files, and one line for every mistake."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import ConfigError
from daemon.simulate.params import SHIPPED, load_params


def test_a_file_changes_what_it_gives_and_nothing_else(tmp_path: Path) -> None:
    """The shipped values stand wherever a file says nothing; shares of emotions are given as a whole."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        "call: {seconds: 120}\ngroup: {emotions: {happiness: 1, neutral: 1, anger: 2}}\n"
        "members: {resting: {share: 1.0}}\n"
    )
    params, shipped = load_params(path), load_params()
    assert params.call.seconds == 120
    assert params.call.frames_per_second == shipped.call.frames_per_second
    assert dict(params.group.emotions) == {"happiness": 1, "neutral": 1, "anger": 2}
    assert params.members.resting.share == 1.0
    assert params.members.resting.emotions == shipped.members.resting.emotions
    assert params.camera == shipped.camera


def test_an_empty_file_is_the_shipped_one(tmp_path: Path) -> None:
    """Nothing given is nothing changed."""
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n")
    assert load_params(path) == load_params() == load_params(SHIPPED)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("call: {secconds: 60}", "call.secconds: no such parameter"),
        ("cal: {}", "cal: no such parameter"),
        ("call: {seconds: 10}", "call.seconds: Input should be greater than or equal to 60, found 10"),
        ("call: 5", "call: Input should be a valid dictionary"),
        ("members: {number: [9, 4]}", "members.number: expected the smaller number first"),
        ("members: {number: [1, 4]}", "members.number.0: Input should be greater than or equal to 2"),
        ("members: {expressivity: {faint: 0, ordinary: 0, exaggerated: 0}}", "expected a share above 0"),
        ("members: {intensity: {faint: [0, 0, 0]}}", "expected a share above 0"),
        ("members: {intensity: {faint_below: 0.95}}", "expected the smaller number first"),
        ("members: {resting: {emotions: [neutral]}}", "members.resting.emotions.0"),
        ("members: {style_nats: .nan}", "members.style_nats"),
        ("group: {types: [engaged, engaged]}", "expected one or more different names"),
        ("group: {types: []}", "group.types"),
        ("group: {types: [happy]}", "group.types.0"),
        ("group: {emotions: {happiness: 1, joy: 1}}", "group.emotions.joy"),
        ("group: {emotions: {happiness: 1, anger: 1}}", "expected at least three emotions"),
        ("group: {emotions: {happiness: .inf, anger: 1, fear: 1}}", "group.emotions.happiness"),
        ("camera: {poor_conditions: [rain]}", "camera.poor_conditions.0"),
        ("camera: {steadiness: 1}", "camera.steadiness: Input should be less than 1"),
        ("[1, 2]", "expected parameters as `key: value`, found list"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_bad_file_is_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    """File, key, what is expected and what was found."""
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_params(path)
    (line,) = error.value.mistakes
    assert line.startswith(str(path))
    assert told in line
    assert "\n" not in line


def test_several_mistakes_are_told_together(tmp_path: Path) -> None:
    """A line each."""
    path = tmp_path / "bad.yaml"
    path.write_text("call: {seconds: 1, frames_per_second: 0}\ncamera: {rain: 1}\n")
    with pytest.raises(ConfigError) as error:
        load_params(path)
    assert len(error.value.mistakes) == 3


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Missing, a folder, or no text."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_params(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_params(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00a: 1")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_params(tmp_path / "bytes.yaml")


@given(share=st.floats(allow_nan=True, allow_infinity=True))
def test_shares_lie_between_0_and_1(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    """Any other number is refused."""
    path = tmp_path_factory.mktemp("shares") / "share.yaml"
    number = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(str(share), repr(share))
    # YAML 1.1 reads 1e+16 as text.
    path.write_text(f"camera: {{poor_share: !!float '{number}'}}\n")
    if 0 <= share <= 1:
        assert load_params(path).camera.poor_share == share
    else:
        with pytest.raises(ConfigError, match="poor_share"):
            load_params(path)
