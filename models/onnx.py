"""The only place where onnxruntime sessions are made: verified, warmed up, and without threads of their own."""

import hashlib
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

_ERRORS_ONLY: Final = 3
_LOAD_ERRORS: Final = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)
_ORT_TYPES: Final = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}


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
        self._session = self._load(n_threads)
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
        probabilities = softmax(logits, temperature=self._entry.temperature)
        return Expressions(logits=logits, probabilities=probabilities, embeddings=embeddings)

    def _expected(self) -> str:
        """What goes in, in words."""
        sides = ", ".join(["n", *map(str, self._entry.shape)])
        return f"({sides}) {self._entry.dtype}"

    def _outputs(self, inputs: NDArray[np.generic]) -> tuple[F32, F32]:
        feed = {self._entry.input: np.ascontiguousarray(inputs)}
        logits, embeddings = self._session.run(["logits", "embedding"], feed)
        return logits, embeddings

    def _load(self, n_threads: int) -> Any:  # noqa: ANN401 (onnxruntime has no type information)
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            msg = f"{self._path} is missing; reinstall attuned, or train the models with `make train`"
            raise ModelError(msg) from None
        except OSError as error:
            msg = f"{self._path} cannot be read ({error.strerror}); reinstall attuned"
            raise ModelError(msg) from None
        found = hashlib.sha256(content).hexdigest()
        if found != self._entry.sha256:
            msg = (
                f"{self._path} is not the file that the manifest means "
                f"(SHA-256 {found[:12]}…, expected {self._entry.sha256[:12]}…); reinstall attuned"
            )
            raise ModelError(msg)
        options = ort.SessionOptions()
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = n_threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = _ERRORS_ONLY
        try:
            return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except _LOAD_ERRORS as error:
            first_line = str(error).partition("\n")[0]
            msg = f"{self._path} cannot be run ({first_line}); reinstall attuned"
            raise ModelError(msg) from None

    def _check_interface(self) -> None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        names = [node.name for node in inputs]
        if names != [self._entry.input] or [node.name for node in outputs] != ["logits", "embedding"]:
            wanted = f"input {self._entry.input} and outputs logits, embedding"
            msg = f"{self._path}: expected {wanted}, found {names} and {[node.name for node in outputs]}"
            raise ModelError(msg)
        node = inputs[0]
        if tuple(node.shape[1:]) != self._entry.shape or node.type != _ORT_TYPES[self._entry.dtype]:
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
