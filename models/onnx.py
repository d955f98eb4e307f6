"""The only place where onnxruntime sessions are made: verified, warmed up, and without threads of their own."""

import hashlib
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from models.errors import ModelError
from models.manifest import ModelEntry
from pipeline.emotions import F32, N_EMOTIONS, permutation, softmax
from pipeline.types import Expressions

_FATAL_ONLY: Final = 4
"""What goes wrong comes as an exception; onnxruntime would write it to stderr as well."""

ORT_ERRORS: Final = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)
"""What onnxruntime raises where a file is no model, or a model cannot be run on what it is given."""

ORT_TYPES: Final = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}
"""How onnxruntime calls numpy's types."""

_REINSTALL: Final = "reinstall attuned, or train the models with `make train`"


def read_verified(path: Path, sha256: str, *, meant_by: str, remedy: str) -> bytes:
    """The bytes of a file, whose SHA-256 is `sha256`.

    Args:
        path: The file.
        sha256: 64 hexadecimal digits, small letters.
        meant_by: Where the hash stands, for the message.
        remedy: What to do, the end of every message.

    Raises:
        ModelError: The file is missing, cannot be read, or is another one.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        msg = f"{path} is missing; {remedy}"
        raise ModelError(msg) from None
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}); {remedy}"
        raise ModelError(msg) from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        msg = f"{path} is not the file that {meant_by} means (SHA-256 {found}, expected {sha256}); {remedy}"
        raise ModelError(msg)
    return content


def open_session(path: Path, content: bytes, *, n_threads: int, remedy: str) -> Any:  # noqa: ANN401 (onnxruntime has no type information)
    """The session of an ONNX file that was read; `path` and `remedy` are for the message.

    Nothing but `content` is read: a file whose weights lie in other files, which no hash covers, is refused.

    Raises:
        ModelError: onnxruntime cannot run it.
    """
    options = ort.SessionOptions()
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = n_threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without a folder of its own a model made from bytes would take such weights from the working folder.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    options.log_severity_level = _FATAL_ONLY
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        message = str(error)
        if "external" in message.lower():
            msg = f"{path} cannot be run: its weights lie in other files; save it as one file"
        else:
            msg = f"{path} cannot be run ({message.partition(chr(10))[0]}); {remedy}"
        raise ModelError(msg) from None


class ExpressionSession:
    """A network that turns n inputs into n expressions, as the manifest describes it.

    `run` may be called from several threads; each call works on the caller's thread (and on
    `n_threads` - 1 others).

    Args:
        folder: Where the file of the entry lies.
        entry: What the manifest says of the model.
        n_threads: Threads within one operator (onnxruntime's intra_op), at least 1.

    Raises:
        ModelError: The file is missing, not the one the manifest means, or its input or outputs are of
            another name, shape or type.
    """

    def __init__(self, *, folder: Path, entry: ModelEntry, n_threads: int = 1) -> None:
        self._entry = entry
        self._path = folder / entry.file
        self._order = permutation(entry.classes)
        content = read_verified(self._path, entry.sha256, meant_by="the manifest", remedy=_REINSTALL)
        self._session = open_session(self._path, content, n_threads=n_threads, remedy=_REINSTALL)
        self._check_interface()
        self._warm_up()

    @property
    def entry(self) -> ModelEntry:
        """What the manifest says of this model."""
        return self._entry

    def run(self, inputs: NDArray[np.generic]) -> Expressions:
        """What n inputs express; logits and probabilities in `EMOTIONS` order, probabilities calibrated.

        Raises:
            ValueError: `inputs` is not (n, *entry.shape) of the entry's dtype.
        """
        if inputs.shape[1:] != self._entry.shape or inputs.ndim == 0 or inputs.dtype != self._entry.dtype:
            msg = f"{self._entry.input}: expected {self._expected()}, found {inputs.shape} {inputs.dtype}"
            raise ValueError(msg)
        if len(inputs) == 0:
            logits = np.zeros((0, N_EMOTIONS), dtype=np.float32)
            embeddings = np.zeros((0, self._entry.embedding), dtype=np.float32)
        else:
            own_order, embeddings = self._outputs(inputs)
            logits = np.ascontiguousarray(own_order[:, self._order])
        return Expressions(
            logits=logits,
            probabilities=softmax(logits, temperature=self._entry.temperature),
            pool=softmax(logits, temperature=self._entry.pool_temperature),
            embeddings=embeddings,
        )

    def _expected(self) -> str:
        """What goes in, in words."""
        sides = ", ".join(["n", *map(str, self._entry.shape)])
        return f"({sides}) {self._entry.dtype}"

    def _outputs(self, inputs: NDArray[np.generic]) -> tuple[F32, F32]:
        feed = {self._entry.input: np.ascontiguousarray(inputs)}
        logits, embeddings = self._session.run(["logits", "embedding"], feed)
        return logits, embeddings

    def _check_interface(self) -> None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        names = [node.name for node in inputs]
        if names != [self._entry.input] or [node.name for node in outputs] != ["logits", "embedding"]:
            wanted = f"input {self._entry.input} and outputs logits, embedding"
            msg = f"{self._path}: expected {wanted}, found {names} and {[node.name for node in outputs]}"
            raise ModelError(msg)
        node = inputs[0]
        if tuple(node.shape[1:]) != self._entry.shape or node.type != ORT_TYPES[self._entry.dtype]:
            msg = f"{self._path}: expected input {self._expected()}, found {node.shape} {node.type}"
            raise ModelError(msg)

    def _warm_up(self) -> None:
        """Run once, so that the first face is not slower than the others, and see what comes out."""
        inputs = np.zeros((1, *self._entry.shape), dtype=self._entry.dtype)
        logits, embeddings = self._outputs(inputs)
        if logits.shape != (1, len(self._entry.classes)) or embeddings.shape != (1, self._entry.embedding):
            expected = f"(n, {len(self._entry.classes)}) logits and (n, {self._entry.embedding}) embeddings"
            msg = f"{self._path}: expected {expected}, found {logits.shape} and {embeddings.shape}"
            raise ModelError(msg)
        if not (np.isfinite(logits).all() and np.isfinite(embeddings).all()):
            msg = f"{self._path}: expected finite numbers, found others; {_REINSTALL}"
            raise ModelError(msg)
