"""The way from images to predictions that all segmentors here share: whole or by sliding window, logits or labels."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from detectron2.structures import ImageList
from torch import Tensor

from icpc_d2.modeling.labels import IGNORE_16_BIT
from icpc_d2.modeling.predictions import LazyLogits
from icpc_d2.modeling.windows import sliding_windows, whole_images


class Segmentor:
    """Mixed into a module that has a `backbone`, a `sem_seg_head` and ``predict``, as ICPC's."""

    window: tuple[int, int, int] | None = None
    logits_type: type[LazyLogits] = LazyLogits

    def configure_inference(
        self,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        window: tuple[int, int, int] | None = None,
        logits_type: type[LazyLogits] = LazyLogits,
    ) -> None:
        """Set how images are normalized and predicted.

        Args:
            pixel_mean, pixel_std: of the three channels, in the order of the input, 0..255.
            window: size and stride of the sliding window in pixels, and how many windows are predicted at once; None:
                the whole image.
            logits_type: the form of a prediction.
        """
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)
        self.window, self.logits_type = window, logits_type

    @property
    def device(self) -> torch.device:
        """Where the inputs are moved to."""
        return self.pixel_mean.device

    def compile_prediction(self, size: int, **options: Any) -> None:
        """Compile :meth:`predict` for images of `size` x `size` pixels; those of other sizes are predicted as before.

        Copies of the model are not compiled.

        Args:
            options: of `torch.compile`.
        """
        plain = type(self).predict.__get__(self)
        compiled = torch.compile(plain, **options)

        def predict(images: Tensor) -> Tensor:
            if tuple(images.shape[-2:]) != (size, size):
                return plain(images)
            # Of CUDA graphs, which write over what an earlier call has returned.
            torch.compiler.cudagraph_mark_step_begin()
            return compiled(images).clone()

        self.predict = predict

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "predict"}

    def logits(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """Predict as Detectron2's `SemanticSegmentor` does: a list of {"sem_seg": (K, height, width)}.

        Args:
            batched_inputs: one dict per image: "image" (3, H, W), and optionally "height" and "width".
        """
        return [{"sem_seg": prediction.logits()} for prediction in self.predictions(batched_inputs)]

    def label_maps(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """Predict classes alone: a list of {"labels": (height, width) int64}, the argmax of :meth:`logits`."""
        return [{"labels": prediction.labels()} for prediction in self.predictions(batched_inputs)]

    def predictions(self, batched_inputs: list[dict[str, Any]]) -> list[LazyLogits]:
        """Predict a batch, and leave open what of the predictions is wanted."""
        return self.inference(self.preprocess_image(batched_inputs), batched_inputs, self.predict)

    def inference(
        self, images: ImageList, batched_inputs: list[dict[str, Any]], predict: Callable[[Tensor], Tensor]
    ) -> list[LazyLogits]:
        """Predict a batch by `predict`, whole or by sliding window, each image for the size that it asks for."""
        if self.window is None:
            windows = whole_images(predict, images.tensor, images.image_sizes)
        else:
            divisor = self.backbone.size_divisibility
            windows = [sliding_windows(predict, image, *self.window, divisor) for image in images]
        predictions = []
        for parts, inputs, size in zip(windows, batched_inputs, images.image_sizes, strict=True):
            output_size = (inputs.get("height", size[0]), inputs.get("width", size[1]))
            predictions.append(self.logits_type(parts, size, output_size))
        return predictions

    def preprocess_image(self, batched_inputs: list[dict[str, Any]]) -> ImageList:
        """Normalize, pad and batch the images."""
        images = [(inputs["image"].to(self.device) - self.pixel_mean) / self.pixel_std for inputs in batched_inputs]
        backbone = self.backbone
        return ImageList.from_tensors(images, backbone.size_divisibility, 0.0, backbone.padding_constraints)

    def preprocess_labels(self, batched_inputs: list[dict[str, Any]]) -> Tensor:
        """Pad and batch the labels (B, H, W) as the images are, with the head's ignore value for what is ignored."""
        ignore, backbone = self.sem_seg_head.ignore_value, self.backbone
        labels = [inputs["sem_seg"].to(self.device) for inputs in batched_inputs]
        labels = [label.masked_fill(label == IGNORE_16_BIT, ignore) for label in labels]
        return ImageList.from_tensors(labels, backbone.size_divisibility, ignore, backbone.padding_constraints).tensor
