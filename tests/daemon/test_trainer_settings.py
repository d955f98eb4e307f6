"""The settings of personal heads: the numbers of `config` are those of the code, and what would never train is refused."""

from typing import Any

import pytest

from config.sections import PersonalSection
from daemon.trainer import DEFAULT_TRAINER
from models.personal.buffer import BLOCK_S, CROP_DAYS, KEEP_DAYS, MAX_SAMPLES
from models.personal.gate import DEFAULT_GATE, GateSettings
from models.personal.monitor import DEFAULT_MONITOR, MonitorSettings
from models.personal.store import MAX_VERSIONS
from models.personal.trigger import DEFAULT_TRIGGER, TriggerSettings


def test_the_defaults_of_the_settings_are_those_of_the_code() -> None:
    """`config` does not import `models`: the numbers stand twice, and are the same."""
    section = PersonalSection()
    assert TriggerSettings(**section.trigger.model_dump()) == DEFAULT_TRIGGER
    assert GateSettings(**section.gate.model_dump()) == DEFAULT_GATE
    assert MonitorSettings(**section.monitor.model_dump()) == DEFAULT_MONITOR
    assert (section.max_samples, section.keep_days, section.crop_days) == (MAX_SAMPLES, KEEP_DAYS, CROP_DAYS)
    assert section.max_versions == MAX_VERSIONS
    limits = (section.memory_mb, section.cpu_s, section.wall_s)
    assert limits == (DEFAULT_TRAINER.memory_mb, DEFAULT_TRAINER.cpu_s, DEFAULT_TRAINER.wall_s)
    # A few more than the gate needs: seconds of classes that are hardly ever labelled are not judged.
    assert DEFAULT_TRIGGER.n_blocks > 2 * DEFAULT_GATE.n_blocks
    assert DEFAULT_TRIGGER.human_blocks >= 2 * DEFAULT_GATE.human_blocks
    assert DEFAULT_GATE.block_s == DEFAULT_MONITOR.block_s == BLOCK_S


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_samples": 100}, "trigger.n_samples 240 is more than max_samples 100"),
        ({"gate": {"n_blocks": 23}}, "trigger.n_blocks 44 is less than twice gate.n_blocks, 23"),
        ({"gate": {"human_blocks": 7}}, "trigger.human_blocks 12 is less than twice gate.human_blocks, 7"),
        ({"gate": {"gap_s": 0}}, "gap_s"),
        ({"learner": "pickle"}, "learner"),
    ],
)
def test_settings_that_would_never_train_are_refused(values: dict[str, Any], message: str) -> None:
    """Each with what does not fit."""
    with pytest.raises(ValueError, match=message):
        PersonalSection(**values)
