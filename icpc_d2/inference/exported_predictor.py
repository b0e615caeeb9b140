"""An exported file in the place of a checkpoint: called as `Predictor`, with the same predictions."""

import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from icpc_d2.checkpoint.sources import locate
from icpc_d2.inference.image_reader import ImageLike, to_rgb
from icpc_d2.inference.prediction import Prediction
from icpc_d2.inference.predictor import Predictor
from icpc_d2.modeling.fast.chunked_predictions import ChunkedLogits
from icpc_d2.modeling.predictions import Window
from icpc_d2.visualization import Palette

logger = logging.getLogger(__name__)

GPU_PROVIDER = "CUDAExecutionProvider"

if TYPE_CHECKING:
    from icpc_d2.inference.onnx_predictor import OnnxPredictor


class PreparedImage:
    """An image as the file takes it, and what the file gives for it, of which the latest one alone is kept.

    Full-size logits are hundreds of megabytes, and a page keeps the predictions of many visitors.
    """

    def __init__(self, source: ImageLike, predictor: "OnnxPredictor", latest: dict[str, Any]) -> None:
        """Read and resize an image; `latest` is shared by all of a predictor's images."""
        start = time.perf_counter()
        self.image = image = to_rgb(source, predictor.value_range)
        self.output_size = image.shape[:2]
        self._predictor, self._latest = predictor, latest
        self._pixels, self._places = predictor.prepare(image)
        self.size, self.num_windows = self._pixels.shape[:2], len(self._places)
        self.seconds = time.perf_counter() - start

    def windows(self, name: str) -> list[Window]:
        """Return the windows of the file's output `name`."""
        owner, windows = self._latest.get("windows", (None, None))
        if owner is not self:
            windows = self._predictor.run(self._pixels, self._places)
            self._latest["windows"] = (self, windows)
        return [
            Window(torch.from_numpy(outputs[name]), outputs[name].shape[1:], rows, columns)
            for rows, columns, outputs in windows
        ]

    def logits(self, name: str) -> ChunkedLogits:
        """Return the file's output `name` as a prediction."""
        return ChunkedLogits(FileWindows(self, name), self.size, self.output_size)


class FileWindows(Sequence[Window]):
    """The windows of one output of an exported file, computed again where they are asked for late."""

    def __init__(self, image: PreparedImage, name: str) -> None:
        """Take an image and the name of the output."""
        self._image, self._name = image, name

    def __len__(self) -> int:
        return self._image.num_windows

    def __getitem__(self, index: int) -> Window:
        return self._image.windows(self._name)[index]

    def __iter__(self) -> Iterator[Window]:
        # All from one run, even where another image comes in between.
        return iter(self._image.windows(self._name))


class ExportedPredictor:
    """Segments images with a file of ``icpc export``, run by onnxruntime.

    Attributes:
        classes: names that the file knows.
        device: of the model.
        predict_from: "decoder" or "alignment", as the file was written for.
        tta: False: each image is seen once.
        value_range: of images of more than 8 bits, as in training.
    """

    def __init__(self, path: str | os.PathLike, device: str | torch.device | None = None) -> None:
        """
        Args:
            path: ends in ``.onnx``.
            device: "cpu", or "cuda" where onnxruntime has it; None: a GPU if onnxruntime has it.

        Raises:
            FileNotFoundError: there is no such file.
            ImportError: onnxruntime is missing.
            ValueError: the file is of another kind, or onnxruntime has no such device, or cannot use it.
        """
        try:
            import onnxruntime

            from icpc_d2.inference.onnx_predictor import OnnxPredictor
        except ImportError as error:
            raise ImportError("ONNX files need onnxruntime: python -m pip install onnxruntime") from error
        has_gpu = GPU_PROVIDER in onnxruntime.get_available_providers()
        self.device = torch.device(device or ("cuda" if has_gpu else "cpu"))
        if self.device.type not in ("cpu", "cuda") or (self.device.type == "cuda" and not has_gpu):
            raise ValueError(f"this onnxruntime has nothing for the device '{self.device}'; wanted is 'cpu'.")
        gpu = [(GPU_PROVIDER, {"device_id": self.device.index or 0})] if self.device.type == "cuda" else []
        self._predictor = OnnxPredictor(path, [*gpu, "CPUExecutionProvider"], torch.get_num_threads())
        if gpu and GPU_PROVIDER not in self._predictor.providers:  # onnxruntime goes on with the CPU without a word
            found = "onnxruntime has a provider for GPUs that does not start here: are its CUDA and cuDNN installed?"
            if device is not None:
                raise ValueError(f"{found} Wanted was the device '{self.device}'.")
            logger.warning(f"{found} The file runs on the CPU.")
            self.device = torch.device("cpu")
        if "labels" in self._predictor.outputs:
            raise ValueError(f"{path}: found a file of label maps, wanted one of logits: export without --labels.")
        self.classes = self._predictor.classes
        self.tta, self.value_range = False, self._predictor.value_range
        self.predict_from = self._predictor.predict_from
        self._palette = Palette(self.classes, self._predictor.colors)
        self._latest: dict[str, Any] = {}

    def __call__(
        self,
        images: ImageLike | PreparedImage | Sequence[ImageLike | PreparedImage],
        classes: Iterable[str | Sequence[str]] | str | None = None,
        predict_from: str | None = None,
    ) -> Prediction | list[Prediction]:
        """Predict an image, or each of a list of them; arguments as of `Predictor`.

        Raises:
            BadFileError: a file that is no readable image.
            ValueError: an image that cannot be used, or anything is asked for that the file was not written for.
        """
        if not isinstance(images, list | tuple):
            return self([images], classes, predict_from)[0]
        if classes is not None:
            raise ValueError("the file knows its own classes alone: `icpc export --classes` writes one for others.")
        predict_from = predict_from or self.predict_from
        if predict_from not in (self.predict_from, *(["alignment"] if "alignment" in self._predictor.outputs else [])):
            raise ValueError(
                f"predict_from is {predict_from!r}, but the file predicts from the {self.predict_from}: `icpc export "
                "--alignment` of a model with MODEL.PREDICT_FROM decoder writes one for both."
            )
        return [self._predict(image, predict_from) for image in images]

    predict = __call__

    def read(self, source: ImageLike) -> PreparedImage:
        """Read and resize an image, which a call does too: for threads that do so beside the model.

        Raises:
            BadFileError: a file that is no readable image.
            ValueError: an image that cannot be used.
        """
        return PreparedImage(source, self._predictor, self._latest)

    def _predict(self, source: ImageLike | PreparedImage, predict_from: str) -> Prediction:
        prepared = source if isinstance(source, PreparedImage) else self.read(source)
        start = time.perf_counter()
        logits = prepared.logits("logits" if predict_from == self.predict_from else "alignment")
        predicted = time.perf_counter()
        labels = logits.labels().numpy()
        labelled = time.perf_counter()
        seconds = {"read": prepared.seconds, "model": predicted - start, "labels": labelled - predicted}
        alignment = prepared.logits("alignment") if "alignment" in self._predictor.outputs else None
        if alignment is None and self.predict_from == "alignment":
            alignment = logits
        return Prediction(prepared.image, labels, self._palette, predict_from, logits, alignment, seconds)


def load_predictor(
    weights: str | os.PathLike, device: str | torch.device | None = None, tta: bool | None = None
) -> Predictor | ExportedPredictor:
    """Load what predicts: an exported ``.onnx`` file, or else a checkpoint; arguments and errors as of their classes.

    Raises:
        ValueError: test-time augmentation is asked for with an exported file.
    """
    if not os.fspath(weights).lower().endswith(".onnx"):
        return Predictor(weights, device, tta)
    if tta:
        raise ValueError("an exported file sees each image once: for test-time augmentation give the checkpoint.")
    return ExportedPredictor(locate(os.fspath(weights)), device)
