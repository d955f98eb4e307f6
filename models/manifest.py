"""Which models there are: `manifest.toml`, one table per model, beside the ONNX files."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from models.errors import ModelError
from pipeline.emotions import permutation

WEIGHTS: Final = Path(__file__).parent / "weights"
"""Folder of the models that come with attuned."""

MANIFEST: Final = "manifest.toml"

Kind = Literal["pixel", "landmark"]
Features = Literal["picture", "mesh", "paper"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """What the manifest says of one model.

    kind: `pixel` reads grey pictures, `landmark` meshes.
    version: name and version, such as `pixel-1.0`.
    features: what the network is given: the `picture` itself, or `mesh` or `paper` features of the mesh
        (`pipeline.landmarks.mesh_features`, `paper_features`).
    input, dtype, shape: name, numpy type and shape of the one input without its first axis, which is any n.
    embedding: numbers per face in the second output.
    classes: what the columns of the logits mean, in the model's own order.
    temperature: divides the logits before the softmax, so that the model alone is calibrated; > 0.
    pool_temperature: the same where the probabilities enter the mean of both arms; > 0.
    """

    name: str
    file: str
    sha256: str
    kind: Kind
    version: str
    features: Features
    input: str
    dtype: str
    shape: tuple[int, ...]
    embedding: int
    classes: tuple[str, ...]
    temperature: float
    pool_temperature: float
    licence: str
    training_data: str
    card: str


def read_manifest(folder: Path = WEIGHTS) -> Mapping[str, ModelEntry]:
    """Every model of `folder` by name.

    Raises:
        ModelError: There is no manifest, or an entry lacks a field or has one of the wrong kind.
    """
    path = folder / MANIFEST
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        msg = f"{path} is missing; reinstall attuned, or train the models with `make train`"
        raise ModelError(msg) from None
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}); reinstall attuned"
        raise ModelError(msg) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is damaged ({error}); reinstall attuned"
        raise ModelError(msg) from None
    return MappingProxyType({name: _entry(path, name, table) for name, table in tables.items()})


def find_entry(name: str, folder: Path = WEIGHTS) -> ModelEntry:
    """The entry of one model.

    Raises:
        ModelError: The manifest has no model of this name, or cannot be read.
    """
    entries = read_manifest(folder)
    if name not in entries:
        known = ", ".join(sorted(entries)) or "none"
        msg = f"no model {name!r} in {folder / MANIFEST}; there are {known}; others are given as the path of a .yaml"
        raise ModelError(msg)
    return entries[name]


def _entry(path: Path, name: str, table: Any) -> ModelEntry:  # noqa: ANN401 (whatever TOML holds)
    try:
        entry = ModelEntry(
            name=name,
            file=_text(table["file"]),
            sha256=_text(table["sha256"]),
            kind=_one_of(table["kind"], get_args(Kind)),
            version=_text(table["version"]),
            features=_one_of(table["features"], get_args(Features)),
            input=_text(table["input"]),
            dtype=_one_of(table["dtype"], ("uint8", "float32")),
            shape=tuple(int(side) for side in table["shape"]),
            embedding=int(table["embedding"]),
            classes=tuple(_text(label) for label in table["classes"]),
            temperature=float(table["temperature"]),
            pool_temperature=float(table["pool_temperature"]),
            licence=_text(table["licence"]),
            training_data=_text(table["training_data"]),
            card=_text(table["card"]),
        )
        _check(entry)
    except KeyError as error:
        msg = f"{path}: [{name}] lacks {error}; reinstall attuned"
        raise ModelError(msg) from None
    except (TypeError, ValueError) as error:
        msg = f"{path}: [{name}] {error}; reinstall attuned"
        raise ModelError(msg) from None
    return entry


def _check(entry: ModelEntry) -> None:
    permutation(entry.classes)
    for name in ("temperature", "pool_temperature"):
        if not getattr(entry, name) > 0:
            msg = f"{name}: expected above 0, found {getattr(entry, name)}"
            raise ValueError(msg)
    if (entry.kind == "pixel") != (entry.features == "picture"):
        msg = f"features: a {entry.kind} model does not read {entry.features!r}"
        raise ValueError(msg)


def _text(value: object) -> str:
    if not isinstance(value, str):
        msg = f"expected text, found {value!r}"
        raise TypeError(msg)
    return value


def _one_of(value: object, allowed: tuple[Any, ...]) -> Any:  # noqa: ANN401 (one of the literals given)
    if value not in allowed:
        msg = f"expected one of {', '.join(allowed)}, found {value!r}"
        raise ValueError(msg)
    return value
