"""What users say of an expression model of their own: a YAML file, checked key by key.

    name: ferplus                  # in outputs: letters, digits, dot, dash, underscore
    file: emotion-ferplus-8.onnx   # relative to this file
    sha256: …                      # of the ONNX file; the error for a missing one has it
    kind: pixel                    # landmark models cannot be described
    input:
      name: Input3                 # may be left out where there is only one
      size: [64, 64]               # height, width; square
      colour: grey                 # grey, rgb or bgr
      layout: nchw                 # nchw or nhwc
      dtype: float32               # float32 or uint8
      scale: 1.0                   # what goes in is (pixel * scale - mean) / std, pixels from 0 to 255
      mean: 0                      # one number, or one for each channel, in the order of `colour`
      std: 1
    output:
      name: Plus692_Output_0       # may be left out where there is only one besides the embedding
      scores: logits               # logits or probabilities
    classes: [neutral, happiness, surprise, sadness, anger, disgust, fear, contempt]
    ignored: 0                     # columns after those of the classes that are no classes, such as valence and arousal
    embedding: null                # name of an output with features of the face
    temperature: 1.0               # divides the logits before the softmax, so that the model alone is calibrated
    pool_temperature: 1.0          # the same for the mean with the landmark model; where left out: temperature
    licence: MIT

`classes` names the columns in the model's own order; `happy` is `happiness` and so on. Each of the seven must stand
there once. Others, such as contempt, are dropped, and the seven shared out anew (`models.external`).
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from models.errors import ModelError
from models.labels import noun
from models.manifest import read_manifest
from pipeline.emotions import EMOTIONS
from pipeline.types import Crop

_SIDE_MIN, _SIDE_MAX = 16, 1024
_SHORT = 8


def _as_tuple(value: object) -> object:
    """A list, or a number alone, as a tuple."""
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _as_number(value: object) -> object:
    """Numbers such as `1e-3`, which YAML 1.1 takes for text, as numbers."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Number = Annotated[float, BeforeValidator(_as_number)]
Channels = Annotated[tuple[Number, ...], BeforeValidator(_as_tuple), BeforeValidator(_as_number)]
Side = Annotated[int, Field(ge=_SIDE_MIN, le=_SIDE_MAX)]


class _Section(BaseModel):
    """What all sections share: nothing unknown, nothing converted, nothing that changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class InputSection(_Section):
    """What the network is given: (pixel * scale - mean) / std."""

    name: str | None = None
    size: Annotated[tuple[Side, Side], BeforeValidator(_as_tuple)]
    colour: Literal["grey", "rgb", "bgr"]
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: Literal["float32", "uint8"] = "float32"
    scale: Number = Field(1.0, gt=0)
    mean: Channels = (0.0,)
    std: Channels = (1.0,)

    @property
    def n_channels(self) -> int:
        """1 or 3."""
        return 1 if self.colour == "grey" else 3

    @field_validator("size")
    @classmethod
    def _square(cls, size: tuple[int, int]) -> tuple[int, int]:
        """The crop of a face is square."""
        if size[0] != size[1]:
            msg = f"expected a square, found {size[0]} x {size[1]}; faces are cut as squares"
            raise ValueError(msg)
        return size

    @field_validator("mean", "std")
    @classmethod
    def _per_channel(cls, values: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        """One number, or one for each channel; nothing is divided by zero."""
        n_channels = 1 if info.data.get("colour") == "grey" else 3
        if len(values) not in {1, n_channels}:
            found = f"expected {'1 number' if n_channels == 1 else '1 or 3 numbers'}, found {len(values)}"
            raise ValueError(found)
        if info.field_name == "std" and min(values) <= 0:
            msg = f"expected above 0, found {min(values)}"
            raise ValueError(msg)
        return values

    @field_validator("scale", "mean", "std")
    @classmethod
    def _bytes_stay_bytes(cls, value: float | tuple[float, ...], info: ValidationInfo) -> float | tuple[float, ...]:
        """Whole numbers from 0 to 255 cannot be scaled."""
        unchanged = 0.0 if info.field_name == "mean" else 1.0
        if info.data.get("dtype") == "uint8" and value not in {unchanged, (unchanged,)}:
            msg = "a uint8 input takes pixels as they are; leave it out"
            raise ValueError(msg)
        return value


class OutputSection(_Section):
    """What the network answers."""

    name: str | None = None
    scores: Literal["logits", "probabilities"]


class Description(_Section):
    """A whole description; the module's docstring says what the keys mean."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    file: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    kind: Literal["pixel"]
    input: InputSection
    output: OutputSection
    classes: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
    ignored: int = Field(0, ge=0)
    embedding: str | None = None
    temperature: Number = Field(1.0, gt=0)
    pool_temperature: Number | None = Field(None, gt=0)
    licence: str = "not stated"

    @property
    def version(self) -> str:
        """Name and eight digits of a hash, such as `ferplus-1a2b3c4d`.

        The hash is over all that changes what comes out, the ONNX file's own hash included: another order of the
        classes is another version.
        """
        fields = self.model_dump(mode="json", exclude={"name", "file", "licence"}, exclude_defaults=True)
        return f"{self.name}-{hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:_SHORT]}"

    @property
    def crop(self) -> Crop:
        """The pictures of faces that it reads."""
        return Crop(self.input.size[0], self.input.colour != "grey")

    @field_validator("name")
    @classmethod
    def _not_taken(cls, name: str) -> str:
        """Outputs tell models apart by their names."""
        if name == "fused" or name in read_manifest():
            msg = f"{name} is what attuned calls one of its own; choose another"
            raise ValueError(msg)
        return name

    @field_validator("sha256", mode="before")
    @classmethod
    def _small(cls, value: object) -> object:
        """Some tools print hashes in capital letters."""
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("classes")
    @classmethod
    def _all_seven_once(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        """In nouns; what is missing or double is named, beside what was not understood."""
        nouns = tuple(noun(word) for word in classes)
        missing = [emotion for emotion in EMOTIONS if emotion not in nouns]
        double = sorted({name for name in nouns if nouns.count(name) > 1})
        complaints = []
        if missing:
            others = [name for name in nouns if name not in EMOTIONS]
            told = f" (not among the seven: {', '.join(others)})" if others else ""
            complaints.append(f"{', '.join(missing)} missing{told}")
        if double:
            complaints.append(f"{', '.join(double)} more than once")
        if complaints:
            msg = f"{'; '.join(complaints)}; name the model's columns in its own order, each of the seven once"
            raise ValueError(msg)
        return nouns


def read_description(path: Path) -> Description:
    """The description in a YAML file; the ONNX file is not looked at.

    Raises:
        ModelError: A line for each mistake, with file, line and key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise ModelError(msg) from None
    except UnicodeDecodeError:
        msg = f"{path}: is not UTF-8 text"
        raise ModelError(msg) from None
    except RecursionError:
        msg = f"{path}: is nested without end; write `key: value`"
        raise ModelError(msg) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        msg = f"{path}{line}: is not YAML: {getattr(error, 'problem', None) or 'it cannot be read'}"
        raise ModelError(msg) from None
    if not isinstance(values, dict):
        msg = f"{path}:1: expected a description as `key: value`, found {type(values).__name__}"
        raise ModelError(msg)
    lines, double = _lines(node)
    mistakes = [f"{path}:{line}: {key}: stands there twice" for key, line in double]
    try:
        description = Description.model_validate(values)
    except ValidationError as error:
        for mistake in error.errors(include_url=False, include_input=False):
            where = ".".join(map(str, mistake["loc"]))
            mistakes.append(f"{_place(path, where, lines)}: {where}: {_told(path, values, where, mistake)}")
        raise ModelError("\n".join(mistakes)) from None
    if mistakes:
        raise ModelError("\n".join(mistakes))
    return description


def _told(path: Path, values: Mapping[Any, Any], where: str, mistake: Mapping[str, Any]) -> str:
    """What is wrong with one key, in words."""
    message = {"missing": "is missing", "extra_forbidden": "no such key"}.get(mistake["type"])
    if message is None:
        message = str(mistake["msg"]).removeprefix("Value error, ").partition("\n")[0]
    if where == "kind" and "kind" in values:
        message = "expected pixel; only models that read pictures can be described"
    if where != "sha256":
        return message
    if mistake["type"] != "missing":
        message = "expected 64 hexadecimal digits"
    try:
        content = (path.parent / values["file"]).read_bytes()
    except (KeyError, TypeError, ValueError, OSError):
        return f"{message}; give the SHA-256 of the ONNX file"
    return f"{message}; if {values['file']} is the file you mean, add sha256: {hashlib.sha256(content).hexdigest()}"


def _lines(root: yaml.Node | None) -> tuple[dict[str, int], list[tuple[str, int]]]:
    """Line of every key of the two levels there are, counted from 1, as `input.size`; and keys that came before."""
    lines: dict[str, int] = {}
    double = []
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        inner = value.value if isinstance(value, yaml.MappingNode) else ()
        for name, line in [
            (str(key.value), key.start_mark.line + 1),
            *((f"{key.value}.{sub.value}", sub.start_mark.line + 1) for sub, _ in inner),
        ]:
            if name in lines:
                double.append((name, line))
            lines[name] = line
    return lines, double


def _place(path: Path, where: str, lines: Mapping[str, int]) -> str:
    """File and line of the deepest part of a key that stands in the file."""
    parts = where.split(".")
    for length in range(len(parts), 0, -1):
        if (line := lines.get(".".join(parts[:length]))) is not None:
            return f"{path}:{line}"
    return str(path)
