"""The way from images to predictions that all segmentors here share: whole or by sliding window, logits or labels."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from detectron2.structures import ImageList
from torch import Tensor

from icpc_d2.modeling.labels import IGNORE_16_BIT
from icpc_d2.modeling.predictions import LazyLogits
from icpc_d2.modeling.windows import pad, sliding_windows, whole_images


class Segmentor:
    """Mixed into a module that has a `backbone`, a `sem_seg_head` and ``predict``, as ICPC's."""

    window: tuple[int, int, int] | None = None
    logits_type: type[LazyLogits] = LazyLogits
    pad_to_stride: bool = True

    def configure_inference(
        self,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        window: tuple[int, int, int] | None = None,
        logits_type: type[LazyLogits] = LazyLogits,
        pad_to_stride: bool = True,
    ) -> None:
        """Set how images are normalized and predicted.

        Args:
            pixel_mean, pixel_std: of the three channels, in the order of the input, 0..255.
            window: size and stride of the sliding window in pixels, and how many windows are predicted at once; None:
                the whole image.
            logits_type: the form of a prediction.
            pad_to_stride: predict images padded to multiples of the backbone's coarsest stride, and a batch padded to
                one size; False: each as it is, those of one size together.

        Raises:
            ValueError: images are not to be padded, but a part does not say (`any_size`) that it can do without; or
                windows would leave pixels out.
        """
        if window is not None and not (1 <= window[1] <= window[0] and window[2] >= 1):
            raise ValueError(
                f"TEST.SLIDING_WINDOW has SIZE {window[0]}, STRIDE {window[1]} and BATCH_SIZE {window[2]}; wanted is a "
                "step of 1 pixel or more, at most the size, so that windows cover the image, and 1 or more at once."
            )
        for part in ("backbone", "sem_seg_head"):
            if not pad_to_stride and not getattr(getattr(self, part), "any_size", False):
                raise ValueError(
                    f"TEST.PAD_TO_STRIDE is False, but the {part} {type(getattr(self, part)).__name__} takes no image "
                    "whose sides are no multiples of its stride: set it to True."
                )
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)
        self.window, self.logits_type, self.pad_to_stride = window, logits_type, pad_to_stride

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

    @property
    def divisor(self) -> int:
        """Sides of images are multiples of this when they are predicted, and never less than the backbone's stride."""
        return self.backbone.size_divisibility if self.pad_to_stride else 1

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
        windows = {}
        if self.window is None:
            for indices, batch in self.group(images):
                sizes = [images.image_sizes[index] for index in indices]
                windows |= zip(indices, whole_images(predict, batch, sizes), strict=True)
        else:
            smallest = self.backbone.size_divisibility
            for index, image in enumerate(images):
                windows[index] = sliding_windows(predict, image, *self.window, self.divisor, smallest)
        predictions = []
        for index, (inputs, size) in enumerate(zip(batched_inputs, images.image_sizes, strict=True)):
            output_size = (inputs.get("height", size[0]), inputs.get("width", size[1]))
            predictions.append(self.logits_type(windows[index], size, output_size))
        return predictions

    def group(self, images: ImageList) -> Iterator[tuple[list[int], Tensor]]:
        """Yield what is predicted at once of whole images: their places in the batch, and they (B, 3, H, W)."""
        if self.pad_to_stride:
            yield list(range(len(images))), images.tensor
            return
        places = defaultdict(list)
        for index, size in enumerate(images.image_sizes):
            places[tuple(size)].append(index)
        for indices in places.values():
            batch = torch.stack([images[index] for index in indices])
            yield indices, pad(batch, 1, self.backbone.size_divisibility)

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
