"""`attuned models`: which expression models there are, and what is known of each."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from config.settings import Settings
from models.description import Description, read_description
from models.external import ExternalPixelModel, is_description
from models.landmark import OnnxLandmarkModel
from models.loading import description_path
from models.manifest import WEIGHTS, ModelEntry, find_entry, read_manifest
from models.pixel import OnnxPixelModel


def list_models(settings: Settings) -> list[dict[str, Any]]:
    """The models of the manifest and the configured description, with whether they are configured; none is loaded.

    Raises:
        ModelError: The manifest or the description cannot be used.
    """
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
