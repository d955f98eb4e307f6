"""Personalisation from the settings, and labels from sheets."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from config.sections import PersonalSection
from config.settings import Settings
from daemon.annotate import Annotations
from daemon.personal import Personalisation
from daemon.personal_files import Kit, PersonalSettings
from daemon.personal_session import Sheet
from daemon.sinks.metrics import Metrics
from daemon.trainer import TrainerSettings, why_busy
from models.loading import ExpressionModels
from models.personal.basis import Basis
from models.personal.buffer import Label
from models.personal.catalogue import load_learner
from models.personal.gate import GateSettings
from models.personal.heads import generic_arms
from models.personal.monitor import MonitorSettings
from models.personal.samples import Origin
from models.personal.serving import served
from models.personal.trigger import TriggerSettings
from pipeline.emotions import N_EMOTIONS


def kit_of(models: ExpressionModels, names: tuple[str, str]) -> Kit:
    """What heads of these models are made of.

    Raises:
        ModelError: One of them has no head that could be personalised, such as a model that somebody brought.
    """
    generic = generic_arms(*names)
    basis = Basis(
        models.pixel.sha256,
        models.landmark.sha256,
        generic.pixel.head.w1.shape[1],
        generic.landmark.head.w1.shape[1],
    )
    return Kit(
        basis,
        load=lambda path: load_learner(path, generic),
        serve=lambda learner, version: served(learner, version, generic),
        names=names,
    )


def personal_settings(section: PersonalSection, *, waits: bool = False) -> PersonalSettings:
    """The constants of a section."""
    return PersonalSettings(
        learner=section.learner,
        max_samples=section.max_samples,
        keep_days=section.keep_days,
        keep_crops=section.keep_crops,
        crop_days=section.crop_days,
        trigger=TriggerSettings(**section.trigger.model_dump()),
        monitor=MonitorSettings(**section.monitor.model_dump()),
        trainer=TrainerSettings(
            memory_mb=section.memory_mb,
            cpu_s=section.cpu_s,
            wall_s=section.wall_s,
            max_versions=section.max_versions,
            gate=GateSettings(**section.gate.model_dump()),
        ),
        waits=waits,
    )


def make_personal(
    settings: Settings, models: ExpressionModels, folder: Path, metrics: Metrics, *, waits: bool = False
) -> Personalisation:
    """Personal heads as configured; `waits`: for recordings, which nothing may hurry and which nobody waits for.

    Raises:
        ModelError: See `kit_of`.
    """
    section = settings.personal

    def busy() -> str | None:
        return why_busy(
            metrics.lag_p95_s(),
            os.getloadavg()[0],
            max_p95_s=section.busy_p95_s,
            max_load_per_core=section.busy_load,
        )

    never: Callable[[], str | None] = lambda: None  # noqa: E731
    return Personalisation(
        folder,
        kit=kit_of(models, (settings.models.pixel, settings.models.landmark)),
        settings=personal_settings(section, waits=waits),
        count=metrics.personal_model,
        busy=never if waits else busy,
    )


def sheet_of(annotations: Annotations) -> Sheet:
    """What raters said, by participant and second: where they differ, each has a share."""
    votes: dict[tuple[str, int], list[int]] = {}
    for participant, second, label in annotations.rows.select("participant", "second", "label").iter_rows():
        votes.setdefault((participant, second), []).append(label)
    return {
        where: Label(np.bincount(said, minlength=N_EMOTIONS) / len(said), 1.0, Origin.SHEET)
        for where, said in votes.items()
    }
