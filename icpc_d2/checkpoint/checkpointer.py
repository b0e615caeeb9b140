"""The checkpointer: recognises what it is given and loads it strictly."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
from detectron2.layers import FrozenBatchNorm2d
from fvcore.common.checkpoint import Checkpointer
from torch import Tensor, nn

from icpc_d2.checkpoint.clip_weights import CLIP_MODELS, read_weights
from icpc_d2.checkpoint.key_maps import IMAGE_ENCODERS, TEXT_ENCODER, check_names, convert_clip, fit, is_clip

logger = logging.getLogger(__name__)

IMAGENET_RESNET = "backbone.bottom_up."
NAMED_CLASSES = 20  # of those that differ


class ICPCCheckpointer(DetectionCheckpointer):
    """Saves as Detectron2 does; loads our checkpoints, CLIP's weights and ImageNet ResNets.

    Detectron2 warns of names that are missing or left over and trains on with random values. Here they are an error;
    what stays at its initial values because the source cannot have it, such as the decoder, is listed in the log.
    Everything but Detectron2's own ImageNet pickles is read without executing what it holds.
    """

    def __init__(
        self, model: nn.Module, save_dir: str = "", *, class_names: Sequence[str] = (), **checkpointables: Any
    ) -> None:
        """
        Args:
            class_names: of the model, saved with it; a checkpoint of other classes is refused. Empty: neither.
        """
        super().__init__(model, save_dir, **checkpointables)
        self._class_names = list(class_names)

    def save(self, name: str, **kwargs: Any) -> None:
        """Save as Detectron2 does, with the class names."""
        super().save(name, **({"class_names": self._class_names} if self._class_names else {}), **kwargs)

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load weights, and what else of the trainer a checkpoint of ours holds.

        Args:
            path: ``clip://RN50``, a file (our checkpoint, OpenAI's ``.pt``, open_clip's, ``.safetensors``), or
                ``detectron2://ImageNetPretrained/...``; empty: nothing is loaded.

        Returns:
            The rest of the checkpoint, as Detectron2's.

        Raises:
            ValueError: the file is damaged, of an unknown kind, or does not fit the model.
            FileNotFoundError: no such file.
        """
        if not path:
            logger.info("MODEL.WEIGHTS is empty: all weights are random.")
            return {}
        path = self.path_manager.get_local_path(path)
        if not os.path.isfile(path):
            raise FileNotFoundError(f"There is no file of weights '{path}': check MODEL.WEIGHTS.")
        # DetectionCheckpointer.load would read a "?" in the file's name as a query, and fails twice if it fails once.
        return Checkpointer.load(self, path, *args, **kwargs)

    def _load_file(self, filename: str) -> dict[str, Any]:
        if filename.endswith(".pkl"):
            if not any(name.startswith(IMAGENET_RESNET + "res2.") for name in self.model.state_dict()):
                raise ValueError(
                    f"{filename} is a pickle, which may execute code; it is read for an ImageNet ResNet alone, and "
                    "this model has none. Save the tensors with torch.save or as .safetensors where you trust the file."
                )
            logger.warning(f"{filename} is a pickle, which may execute code: load only what you trust.")
            return super()._load_file(filename)
        content, is_torchscript = read_weights(filename)
        if isinstance(content.get("model"), dict):
            return content
        weights = content["state_dict"] if isinstance(content.get("state_dict"), dict) else content
        return {"model": weights, "is_openai": is_torchscript}

    def _load_model(self, checkpoint: dict[str, Any]) -> None:
        check_classes(checkpoint.pop("class_names", []), self._class_names)
        weights = _strip_module(checkpoint.pop("model"))
        if checkpoint.get("matching_heuristics"):
            self._load_imagenet(weights, checkpoint.get("__author__") == "Caffe2")
        elif is_clip(weights):
            self._load_clip(weights, checkpoint.pop("is_openai", False))
        else:
            self._load_own(weights)

    def _load_own(self, weights: dict[str, Tensor]) -> None:
        model = self.model.state_dict()
        check_names(model.keys() - weights.keys(), weights.keys() - model.keys(), "a checkpoint")
        weights = {name: fit(name, tensor, model[name]) for name, tensor in weights.items() if name in model}
        self.model.load_state_dict(weights, strict=False)

    def _load_clip(self, weights: dict[str, Tensor], is_openai: bool) -> None:
        if is_openai:
            check_quick_gelu(self.model)
        else:
            logger.info(
                "The file does not say which activation these CLIP weights were trained with: "
                f"{'QuickGELU' if uses_quick_gelu(self.model) else 'GELU'} is what MODEL.CLIP.ARCH builds."
            )
        converted, dropped = convert_clip(weights, self.model.state_dict())
        if dropped:
            logger.info(f"Parts of CLIP that this model does without: {_by_module(dropped)}.")
        self._load_part(converted)

    def _load_imagenet(self, weights: dict[str, Any], from_caffe2: bool) -> None:
        self._convert_ndarray_to_tensor(weights)
        model = {name: value for name, value in self.model.state_dict().items() if name.startswith(IMAGENET_RESNET)}
        weights = align_and_update_state_dicts(model, weights, c2_conversion=from_caffe2)
        converted = {name: fit(name, tensor, model[name]) for name, tensor in weights.items() if name in model}
        unknown = [name for name in weights.keys() - model.keys() if not _is_classifier(name)]
        # Caffe2's files have BatchNorm's statistics merged into its weight and bias. FrozenBN then needs none.
        merged = {
            f"{name}.{statistic}"
            for name, module in self.model.named_modules()
            if isinstance(module, FrozenBatchNorm2d)
            for statistic in ("running_mean", "running_var")
        }
        check_names(model.keys() - converted.keys() - merged, unknown, "an ImageNet ResNet")
        self._load_part(converted)

    def _load_part(self, weights: dict[str, Tensor]) -> None:
        result = self.model.load_state_dict(weights, strict=False)
        if result.missing_keys:
            logger.info(f"Left at their initial values: {_by_module(result.missing_keys)}.")


class WeightsCheckpointer(ICPCCheckpointer):
    """Saves a model's weights beside a training without becoming what ``--resume`` continues from."""

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Leave the tag to the training's own checkpoints."""


def check_classes(found: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a checkpoint of other classes than the model's; one of them may be empty, which is any.

    Raises:
        ValueError: they differ; the message lists how.
    """
    if not found or not wanted or list(found) == list(wanted):
        return
    pairs = enumerate(zip_longest(found, wanted, fillvalue="(none)"))
    differing = [f"{index}: {theirs!r} -> {ours!r}" for index, (theirs, ours) in pairs if theirs != ours]
    shown = ", ".join(differing[:NAMED_CLASSES]) + f", and {len(differing) - NAMED_CLASSES} more" * (
        len(differing) > NAMED_CLASSES
    )
    raise ValueError(
        f"The weights were trained for {len(found)} classes, the data set or MODEL.CLASS_NAMES has {len(wanted)}. "
        f"{len(differing)} differ (id: weights -> data): {shown}. Use a data set of the same classes in the same "
        "order, or start from CLIP's weights."
    )


def uses_quick_gelu(model: nn.Module) -> bool | None:
    """Whether the model's CLIP encoders use QuickGELU; None: they have neither it nor GELU, as ResNets without text."""
    encoders = (*IMAGE_ENCODERS, TEXT_ENCODER)
    kinds = {type(module).__name__ for name, module in model.named_modules() if f"{name}.".startswith(encoders)}
    return "QuickGELU" in kinds if kinds & {"QuickGELU", "GELU"} else None


def check_quick_gelu(model: nn.Module) -> None:
    """Refuse OpenAI's weights for a model with GELU, where they would quietly lose accuracy.

    Raises:
        ValueError: the model's CLIP encoders use GELU.
    """
    if uses_quick_gelu(model) is False:
        names = ", ".join(f"{name}-quickgelu" for name in CLIP_MODELS)
        raise ValueError(
            "OpenAI's CLIP was trained with QuickGELU, but MODEL.CLIP.ARCH builds a model with GELU: set it to the "
            f"same name with '-quickgelu' at its end ({names})."
        )


def _is_classifier(name: str) -> bool:
    """Whether this is of an ImageNet ResNet's last layer, which no segmentation model has."""
    layer = name.split(".")[-2] if "." in name else name
    return layer.startswith("fc") or layer == "linear"


def _strip_module(weights: dict[str, Any]) -> dict[str, Any]:
    """Names without the "module." that DistributedDataParallel puts before each of them."""
    if all(name.startswith("module.") for name in weights):
        return {name.removeprefix("module."): value for name, value in weights.items()}
    return dict(weights)


def _by_module(names: list[str]) -> str:
    """Names summed up by the module they are in: "neck (16), sem_seg_head (26)"."""
    counts = Counter(
        ".".join(name.split(".")[: 2 if name.startswith(("backbone.", "visual.")) else 1]) for name in names
    )
    return ", ".join(f"{module} ({count})" for module, count in counts.items())
