"""`attuned models`: which expression models and personal heads there are, and what is known of each."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from config.settings import Settings
from daemon.errors import UnusableInputError
from daemon.state import locked, state_folder
from models.description import Description, read_description
from models.external import ExternalPixelModel, is_description
from models.landmark import OnnxLandmarkModel
from models.loading import description_path
from models.manifest import WEIGHTS, ModelEntry, find_entry, read_manifest
from models.personal.basis import Basis
from models.personal.buffer import Buffer
from models.personal.people import HEADS, People
from models.personal.store import GENERIC, Store, Version
from models.pixel import OnnxPixelModel


def list_models(settings: Settings) -> list[dict[str, Any]]:
    """The models of the manifest, the configured description and all personal heads, with whether they are in use.

    None is loaded.

    Raises:
        ModelError: The manifest, the description or the list of somebody's heads cannot be used.
    """
    return [*_shared_models(settings), *_personal_heads(settings)]


def _shared_models(settings: Settings) -> list[dict[str, Any]]:
    """The models that read everybody."""
    configured = settings.models
    rows = [
        _entry_fields(entry) | {"in_use": entry.name == getattr(configured, entry.kind)}
        for entry in read_manifest().values()
    ]
    if is_description(configured.pixel):
        path = description_path(configured.pixel)
        rows.append(_description_fields(read_description(path), path) | {"in_use": True})
    return rows


def show_model(name: str) -> dict[str, Any]:
    """All that is known of the model of this name, or described by the YAML of this path, after loading it.

    Raises:
        ModelError: There is none, or it is damaged, or not what the manifest or its description says.
    """
    if is_description(name):
        path = description_path(name)
        model = ExternalPixelModel(path)
        return _description_fields(model.description, path) | {"verified": True}
    entry = find_entry(name)
    (OnnxPixelModel if entry.kind == "pixel" else OnnxLandmarkModel)(name)
    return _entry_fields(entry) | {"verified": True}


def show_person(settings: Settings, participant: str) -> dict[str, Any]:
    """All that is kept of a participant: samples of the configured models by class, and every version of the head.

    Raises:
        ModelError: The list of heads is damaged.
        UnusableInputError: Nothing is kept of this participant, or that is no participant.
    """
    basis = basis_of(settings)
    folder = folder_of(people_of(settings), participant)
    of_class: dict[str, int] = {}
    if any(folder.glob(f"samples-{basis.key}.sqlite")):
        with Buffer(folder, basis=basis) as buffer:
            of_class = {name: n for name, n in buffer.counts().of_class.items() if n}
    store = Store(folder / HEADS, basis=basis.key)
    versions = [asdict(version) for version in store.versions()]
    serves = store.current()
    return {
        "participant": participant,
        "serves": GENERIC if serves is None else serves.name,
        "samples": of_class,
        "versions": [version | {"classes": list(version["classes"])} for version in versions],
    }


def roll_back(settings: Settings, participant: str) -> dict[str, str]:
    """Takes the head that serves a participant back for good; who served and who serves now.

    Raises:
        ModelError: The list of heads is damaged.
        UnusableInputError: Nothing is kept of this participant, no personal head serves, or a daemon is running.
    """
    with alone(settings):
        folder = folder_of(people_of(settings), participant)
        was, now = Store(folder / HEADS, basis=basis_of(settings).key).step_back()
    if was is None:
        msg = f"{participant}: the generic head serves; there is nothing to roll back"
        raise UnusableInputError(msg)
    return {"participant": participant, "from": was.name, "to": GENERIC if now is None else now.name}


def forget(settings: Settings, participant: str) -> dict[str, str]:
    """Erases all that is kept of a participant: samples, pictures, heads, history.

    Raises:
        FailedError: Something cannot be erased.
        UnusableInputError: Nothing is kept of this participant, or a daemon is running.
    """
    from daemon.erasure import erase_offline  # noqa: PLC0415 (everything else of the daemon comes with it)

    with alone(settings):
        try:
            done, _ = erase_offline(state_folder(settings), participant)
        except ValueError as error:
            raise UnusableInputError(str(error)) from error
    if not done.is_any:
        msg = f"nothing is kept of {participant}; `attuned models list` shows of whom something is"
        raise UnusableInputError(msg)
    return {"participant": participant, "state": "forgotten"}


def format_models(rows: list[dict[str, Any]]) -> str:
    """What `list_models` returned as a plain-text table."""
    cells = [("name", "version", "reads", "in use", "SHA-256", "file")]
    for row in rows:
        used = "yes" if row["in_use"] else ""
        cells.append((row["name"], row["version"], row["kind"], used, row["sha256"][:12], row["file"]))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def format_model(fields: dict[str, Any]) -> str:
    """What `show_model` returned, a line for each field."""
    width = max(map(len, fields))
    return "\n".join(f"{key:{width}}  {_text(value)}" for key, value in fields.items())


def _personal_heads(settings: Settings) -> list[dict[str, Any]]:
    """Every version of everybody who is known across sessions, in the columns of the other models."""
    key = basis_of(settings).key
    people = people_of(settings)
    rows = []
    for participant in people.known():
        folder = people.root / participant / HEADS
        if folder.is_dir():
            store = Store(folder, basis=key)
            rows += [_version_fields(participant, version, store) for version in store.versions()]
    return rows


def _version_fields(participant: str, version: Version, store: Store) -> dict[str, Any]:
    fields = asdict(version) | {"classes": list(version.classes), "file": str(store.path(version))}
    in_use = version.name == store.current_name()
    return fields | {"name": participant, "version": version.name, "kind": version.learner, "in_use": in_use}


def basis_of(settings: Settings) -> Basis:
    """The models whose embeddings samples and heads are of now."""
    used = {row["kind"]: row["sha256"] for row in _shared_models(settings) if row["in_use"]}
    return Basis(used["pixel"], used["landmark"])


def people_of(settings: Settings) -> People:
    """Whose samples and heads are kept."""
    return People(state_folder(settings) / "personal")


def _find(people: People, participant: str) -> Path | None:
    try:
        return people.find(participant)
    except ValueError as error:
        raise UnusableInputError(str(error)) from error


def folder_of(people: People, participant: str) -> Path:
    """What is kept of a participant.

    Raises:
        UnusableInputError: Nothing is, or that is no participant.
    """
    folder = _find(people, participant)
    if folder is None:
        msg = f"nothing is kept of {participant}; `attuned models list` shows of whom something is"
        raise UnusableInputError(msg)
    return folder


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Nobody else changes what is kept, while the context lasts."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(state_folder(settings)))
        except UnusableInputError as error:
            api = "DELETE /api/v1/sessions/<id>/participants/<participant>/data erases somebody while it runs"
            msg = f"{error}; {api}"
            raise UnusableInputError(msg) from error
        yield


def _entry_fields(entry: ModelEntry) -> dict[str, Any]:
    """A model of the manifest, with paths that lead to its files."""
    paths = {"file": str(WEIGHTS / entry.file), "card": str(WEIGHTS / entry.card)}
    return asdict(entry) | {"shape": list(entry.shape), "classes": list(entry.classes)} | paths


def _description_fields(description: Description, path: Path) -> dict[str, Any]:
    """A described model, with the paths of both its files."""
    fields = description.model_dump(mode="json")
    paths = {"file": str(path.parent / description.file), "description": str(path)}
    return fields | {"version": description.version} | paths


def _text(value: object) -> str:
    """A value in a line of text."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
