"""Pixel models that users bring: an ONNX file and the YAML description of it (`models.description`).

Classes beyond the seven, such as contempt, are dropped: from logits before the softmax, from probabilities before
the seven are made to sum to one again. Both say: given that it is one of the seven, how probable is each. A face whose
contempt is certain thus gets a distribution as well, by what little the model leaves to the seven.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.description import Description, read_description
from models.errors import ModelError
from models.onnx import ORT_ERRORS, ORT_TYPES, open_session, read_verified
from pipeline.emotions import F32, N_EMOTIONS, permutation, softmax
from pipeline.types import U8, Crop, Expressions

_SUM_TOLERANCE: Final = 0.02
"""How far probabilities may be from a sum of 1: models of 16-bit numbers round."""

_LEAST: Final = 1e-12
"""Stands for a probability of 0, which has no logarithm."""

_FLOATS: Final = ("tensor(float)", "tensor(float16)", "tensor(double)")


def is_description(name: str) -> bool:
    """Whether a model's name is the path of a description."""
    return name.lower().endswith((".yaml", ".yml"))


class ExternalPixelModel:
    """Implements `PixelModel` with an ONNX file that a user describes.

    `predict` may be called from several threads. A network made for one face at a time is run face by face.

    Args:
        path: The YAML description.
        n_threads: Threads within one operator, at least 1.

    Raises:
        ModelError: The description has mistakes, the ONNX file is missing or another one, cannot be run, or does not
            take or give what the description says.
    """

    def __init__(self, path: Path, *, n_threads: int = 1) -> None:
        description = read_description(path)
        self._description = description
        self._order = permutation(description.classes)
        self._file = path.parent / description.file
        remedy = f"correct it, or file and sha256 in {path}"
        content = read_verified(self._file, description.sha256, meant_by=str(path), remedy=remedy)
        self._session = open_session(self._file, content, n_threads=n_threads, remedy=remedy)
        self._input, self._one_by_one = self._check_input()
        self._outputs = self._check_outputs()
        self._n_embedding = self._warm_up()

    @property
    def version(self) -> str:
        """Name and a short hash of file and description, such as `ferplus-1a2b3c4d`."""
        return self._description.version

    @property
    def sha256(self) -> str:
        """Hash of the ONNX file, 64 hexadecimal digits."""
        return self._description.sha256

    @property
    def crop(self) -> Crop:
        """The pictures of faces that it reads."""
        return self._description.crop

    @property
    def description(self) -> Description:
        """What the user says of it."""
        return self._description

    @property
    def file(self) -> Path:
        """The ONNX file."""
        return self._file

    def predict(self, faces: U8) -> Expressions:
        """What (n, *crop.shape) uint8 face crops, grey or RGB, express; embeddings are (n, 0) where it gives none.

        `models.pixel.fitted` brings 48 px grey faces to that shape. Logits of a model that gives probabilities are
        their logarithms, so that the temperature works alike.

        Raises:
            ValueError: `faces` is of another shape or type.
            ModelError: What comes out is not finite, or was to be probabilities and is not.
        """
        if faces.shape[1:] != self.crop.shape or faces.dtype != np.uint8:
            sides = ", ".join(["n", *map(str, self.crop.shape)])
            msg = f"{self._description.name}: expected ({sides}) uint8, found {faces.shape} {faces.dtype}"
            raise ValueError(msg)
        if len(faces) == 0:
            scores = np.ones((0, N_EMOTIONS), dtype=np.float32)
            embeddings = np.zeros((0, self._n_embedding), dtype=np.float32)
        else:
            all_scores, embeddings = self._run(self._prepared(faces))
            self._check_scores(all_scores)
            scores = all_scores[:, self._order]
        logits = scores if self._description.output.scores == "logits" else np.log(np.maximum(scores, _LEAST))
        logits = np.ascontiguousarray(logits)
        alone = self._description.temperature
        return Expressions(
            logits=logits,
            probabilities=softmax(logits, temperature=alone),
            pool=softmax(logits, temperature=self._description.pool_temperature or alone),
            embeddings=embeddings,
        )

    def _prepared(self, faces: U8) -> NDArray[Any]:
        """What the network takes, from (n, side, side) grey or (n, side, side, 3) RGB."""
        asked = self._description.input
        pictures: NDArray[Any] = faces if self.crop.colour else faces[..., None]
        if asked.colour == "bgr":
            pictures = pictures[..., ::-1]
        if asked.dtype == "float32":
            mean, std = np.array(asked.mean, dtype=np.float32), np.array(asked.std, dtype=np.float32)
            pictures = (pictures.astype(np.float32) * np.float32(asked.scale) - mean) / std
        if asked.layout == "nchw":
            pictures = pictures.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(pictures)

    def _run(self, inputs: NDArray[Any]) -> tuple[F32, F32]:
        """Scores of all columns and embeddings, (n, 0) where there are none."""
        parts = [inputs[i : i + 1] for i in range(len(inputs))] if self._one_by_one else [inputs]
        answers = [self._session.run(self._outputs, {self._input: part}) for part in parts]
        scores, *features = (np.concatenate(column).astype(np.float32) for column in zip(*answers, strict=True))
        embeddings = features[0] if features else np.zeros((len(inputs), 0), dtype=np.float32)
        return scores, embeddings.reshape(len(embeddings), -1)

    def _check_input(self) -> tuple[str, bool]:
        """Name of the input, and whether it takes one face at a time."""
        asked, nodes = self._description.input, self._session.get_inputs()
        names = [node.name for node in nodes]
        if len(nodes) != 1 or asked.name not in {None, names[0]}:
            wanted = "one input" if asked.name is None else f"one input {asked.name}"
            msg = f"{self._file}: expected {wanted}, found {', '.join(names)}"
            raise ModelError(msg)
        shape = (*asked.size, asked.n_channels) if asked.layout == "nhwc" else (asked.n_channels, *asked.size)
        found = nodes[0].shape
        fits = len(found) == len(shape) + 1 and all(
            side == wanted or not isinstance(side, int) for side, wanted in zip(found[1:], shape, strict=True)
        )
        if not fits or nodes[0].type != ORT_TYPES[asked.dtype]:
            sides = ", ".join(["n", *map(str, shape)])
            msg = f"{self._file}: expected input ({sides}) {asked.dtype}, found {found} {nodes[0].type}; correct input"
            raise ModelError(msg)
        if isinstance(found[0], int) and found[0] != 1:
            msg = f"{self._file}: takes {found[0]} faces at a time; export it for one, or for any number"
            raise ModelError(msg)
        return names[0], found[0] == 1

    def _check_outputs(self) -> list[str]:
        """Names of the scores and, where it is asked for, the embedding."""
        said, nodes = self._description, {node.name: node.type for node in self._session.get_outputs()}
        for key, name in (("output.name", said.output.name), ("embedding", said.embedding)):
            if name is not None and name not in nodes:
                msg = f"{self._file}: {key}: no output {name}; there are {', '.join(nodes)}"
                raise ModelError(msg)
        candidates = [said.output.name] if said.output.name else [name for name in nodes if name != said.embedding]
        if len(candidates) != 1 or candidates[0] == said.embedding:
            msg = f"{self._file}: has outputs {', '.join(nodes)}; say which are the scores with output.name"
            raise ModelError(msg)
        names = [candidates[0], *([said.embedding] if said.embedding else [])]
        for name in names:
            if nodes[name] not in _FLOATS:
                msg = f"{self._file}: output {name} is {nodes[name]}; expected numbers with a fraction"
                raise ModelError(msg)
        return names

    def _warm_up(self) -> int:
        """Run once on two made-up pictures and see what comes out; numbers per face in the embedding."""
        side = self.crop.side_px
        ramp = np.broadcast_to(np.linspace(0, 255, side).astype(np.uint8)[:, None], (side, side))
        if self.crop.colour:
            ramp = np.repeat(ramp[..., None], 3, axis=2)
        try:
            scores, embeddings = self._run(self._prepared(np.stack([ramp, ramp[::-1]])))
        except (*ORT_ERRORS, ValueError) as error:
            first_line = str(error).partition("\n")[0]
            msg = f"{self._file} cannot be run on a picture as the description gives it ({first_line}); correct input"
            raise ModelError(msg) from None
        n_classes, n_ignored = len(self._description.classes), self._description.ignored
        if scores.shape != (2, n_classes + n_ignored):
            known = f"{n_classes} classes and {n_ignored} ignored columns"
            shape = ("n", *scores.shape[1:]) if scores.shape[:1] == (2,) else scores.shape
            found = ", ".join(map(str, shape))
            msg = f"{self._file}: expected (n, {n_classes + n_ignored}) scores for {known}, found ({found}); correct classes or ignored"
            raise ModelError(msg)
        self._check_scores(scores)
        if self._description.output.scores == "logits" and _are_probabilities(scores[:, :n_classes]).all():
            msg = f"{self._file}: the scores of each test picture sum to 1; write scores: probabilities"
            raise ModelError(msg)
        if len(embeddings) != len(scores):
            msg = f"{self._file}: expected an embedding for each face, found {len(embeddings)} for {len(scores)}"
            raise ModelError(msg)
        return embeddings.shape[1]

    def _check_scores(self, scores: F32) -> None:
        """Nothing that is not finite goes on, nor what is called a probability and is none."""
        name = self._description.name
        if not np.isfinite(scores).all():
            msg = f"{name}: scores are not finite; see whether scale, mean and std are those it was trained with"
            raise ModelError(msg)
        columns = scores[:, : len(self._description.classes)]
        if self._description.output.scores == "probabilities" and not _are_probabilities(columns).all():
            msg = f"{name}: scores do not sum to 1 for each face; write scores: logits if they are logits"
            raise ModelError(msg)


def _are_probabilities(scores: F32) -> NDArray[np.bool_]:
    """(n,) whether each row is in [0, 1] and sums to one, as far as rounding lets it."""
    fair = (scores >= -_SUM_TOLERANCE).all(axis=1) & (np.abs(scores.sum(axis=1) - 1) <= _SUM_TOLERANCE)
    return np.asarray(fair)
