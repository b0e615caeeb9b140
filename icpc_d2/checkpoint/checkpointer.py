"""The checkpointer, which recognises the kind of a file of weights and loads it strictly."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
from detectron2.layers import FrozenBatchNorm2d
from torch import Tensor, nn

from icpc_d2.checkpoint import key_maps
from icpc_d2.checkpoint.checkpoint_folder import TAG, newest_first, write_checkpoint
from icpc_d2.checkpoint.clip_weights import UnreadableWeightsError, read_weights
from icpc_d2.checkpoint.imagenet import check_stem, is_classifier, is_resnet, read_imagenet, rename_resnet
from icpc_d2.checkpoint.key_maps import OPTIONAL, TEXT_ENCODER, check_activation, check_names, fit
from icpc_d2.checkpoint.new_classes import carry_over
from icpc_d2.checkpoint.sources import locate, trained_with_quick_gelu
from icpc_d2.files import atomically

logger = logging.getLogger(__name__)

IMAGENET_RESNET = "backbone.bottom_up."


class ICPCCheckpointer(DetectionCheckpointer):
    """Saves under Detectron2's names, each file whole or not at all; loads our checkpoints, CLIP and ImageNet ResNets.

    Detectron2 warns of names that are missing or left over and trains on with random values. Here they are an error;
    parameters that the source cannot have, such as the decoder's, keep their initial values and are listed in the log.
    Nothing that a file holds is executed, but for the code of a TorchScript archive.

    Args:
        class_names: of the model, saved with it; a checkpoint of other classes is refused. Empty: neither.
        new_classes: fine-tune instead: weights that depend on the classes are carried over by the classes' names.
        whole: the model is used as it is loaded: an encoder by itself is refused, since the rest would be random.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        class_names: Sequence[str] = (),
        new_classes: bool = False,
        whole: bool = False,
        **checkpointables: Any,
    ) -> None:
        super().__init__(model, save_dir, **checkpointables)
        self._class_names, self._new_classes, self._whole = list(class_names), new_classes, whole

    def save(self, name: str, **kwargs: Any) -> None:
        """Save the model, its class names, the other parts of the training, and `kwargs` as ``<name>.pth``.

        Raises:
            OSError, FloatingPointError: see :func:`icpc_d2.checkpoint.checkpoint_folder.write_checkpoint`.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        parts = {"model": self.model, **self.checkpointables}
        content = {key: part.state_dict() for key, part in parts.items()} | kwargs
        if self._class_names:
            content["class_names"] = self._class_names
        # The one thing that neither names nor shapes of weights tell.
        content["quick_gelu"] = key_maps.uses_quick_gelu(self.model)
        path = Path(self.save_dir, f"{name}.pth")
        path.parent.mkdir(parents=True, exist_ok=True)
        logger.info(f"Saving checkpoint to {path}")
        write_checkpoint(path, content)
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Note the checkpoint that ``--resume`` continues from."""
        with atomically(Path(self.save_dir, TAG), durable=True) as temporary:
            temporary.write_text(last_filename_basename)

    def has_checkpoint(self) -> bool:
        """Return whether there is a checkpoint to continue from, even a damaged one."""
        return bool(self.save_dir and newest_first(Path(self.save_dir)))

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Continue from the newest checkpoint that can be read, else load the weights at `path`.

        Raises:
            UnreadableWeightsError: there are checkpoints, and all of them are damaged; else see :meth:`load`.
        """
        if not resume or not self.has_checkpoint():
            return self.load(path, checkpointables=[])
        self._new_classes = False  # the training's own checkpoints have its classes
        for file in newest_first(Path(self.save_dir)):
            try:
                return self.load(str(file), checkpointables=list(self.checkpointables))
            except UnreadableWeightsError as error:
                logger.error(f"{error} Continuing from the checkpoint before it.")
        raise UnreadableWeightsError(
            f"{self.save_dir}: none of its checkpoints can be read; the reasons are above. Remove them to start anew."
        )

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load weights, and the parts of the training that a checkpoint of ours holds.

        Args:
            path: a file (our checkpoint, OpenAI's ``.pt``, open_clip's, ``.safetensors``, an ImageNet ResNet), or an
                address, such as ``clip://RN50``, see `icpc_d2.checkpoint.sources`; empty: nothing is loaded.
            checkpointables: parts of the training that the file must have; None: those that it has.

        Returns:
            The rest of the checkpoint, as Detectron2's.

        Raises:
            UnreadableWeightsError: the file is damaged, of an unknown kind, or lacks a part.
            ValueError: it does not fit the model.
            FileNotFoundError: no such file.
        """
        if not path:
            logger.info("MODEL.WEIGHTS is empty: weights are random, but for those of MODEL.TEXT_ENCODER.WEIGHTS.")
            return {}
        address, path = path, locate(path)
        if not os.path.isfile(path):
            raise FileNotFoundError(f"There is no file of weights '{path}': check MODEL.WEIGHTS.")
        logger.info(f"Loading {path}")
        content = self._load_file(path)
        content["quick_gelu"] = trained_with_quick_gelu(address, content)
        if checkpointables is None:
            checkpointables = [key for key in self.checkpointables if key in content]
        for key in checkpointables:
            if not isinstance(content.get(key), dict):
                raise UnreadableWeightsError(f"{path} has no '{key}': it holds weights, but no training to continue.")
        self._load_model(content)
        for key in checkpointables:
            self.checkpointables[key].load_state_dict(content.pop(key))
        return content

    def _load_file(self, filename: str) -> dict[str, Any]:
        if not filename.endswith(".pkl"):
            return read_weights(filename)
        if not self._has_imagenet_resnet():
            raise ValueError(
                f"{filename} is a pickle, which may execute code; it is read for an ImageNet ResNet alone, and "
                "this model has none. Where you trust the file, convert it: import pickle, torch; "
                f"torch.save(pickle.load(open({filename!r}, 'rb')), {filename.removesuffix('.pkl') + '.pth'!r})"
            )
        return read_imagenet(filename)[0]

    def _load_model(self, checkpoint: dict[str, Any]) -> None:
        weights, class_names = checkpoint.pop("model"), checkpoint.pop("class_names", [])
        quick_gelu = checkpoint.pop("quick_gelu", None)
        is_clip = any(name.startswith("visual.") for name in weights)  # as OpenAI and open_clip save it
        if not self._new_classes:
            key_maps.check_classes(class_names, self._class_names)
        if self._new_classes:
            weights = carry_over(weights, class_names, self.model, self._class_names)
        elif checkpoint.get("matching_heuristics") is True:
            weights = self._convert_imagenet(weights, str(checkpoint.get("__author__")) == "Caffe2")
        elif is_resnet(weights) and self._has_imagenet_resnet():
            weights = self._convert_imagenet(rename_resnet(weights), from_caffe2=False)
        elif is_clip:
            weights = self._convert_clip(weights)
        else:
            weights = key_maps.fit_weights(weights, self.model.state_dict())
        if is_clip or quick_gelu is not None:  # older checkpoints of ours do not say
            check_activation(self.model, quick_gelu)
        missing = [name for name in self.model.state_dict().keys() - weights.keys() if not name.endswith(OPTIONAL)]
        if missing and self._whole:
            raise ValueError(
                f"These weights are of an encoder by itself; {_by_module(sorted(missing))} would be random. Name a "
                "trained model in MODEL.WEIGHTS."
            )
        if missing := self.model.load_state_dict(weights, strict=False).missing_keys:
            logger.info(f"Left at their initial values: {_by_module(missing)}.")

    def _convert_clip(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        converted, dropped = key_maps.convert_clip(weights, self.model.state_dict())
        if dropped:
            logger.info(f"Parts of CLIP that this model does without: {_by_module(dropped)}.")
        return converted

    def _has_imagenet_resnet(self) -> bool:
        return any(name.startswith(IMAGENET_RESNET + "res2.") for name in self.model.state_dict())

    def _convert_imagenet(self, weights: dict[str, Any], from_caffe2: bool) -> dict[str, Tensor]:
        model = {name: value for name, value in self.model.state_dict().items() if name.startswith(IMAGENET_RESNET)}
        check_stem(weights, model)
        weights = align_and_update_state_dicts(model, weights, c2_conversion=from_caffe2)
        converted = {name: fit(name, tensor, model[name]) for name, tensor in weights.items() if name in model}
        unknown = [name for name in weights.keys() - model.keys() if not is_classifier(name)]
        # Caffe2's files have BatchNorm's statistics merged into its weight and bias. FrozenBN then needs none.
        merged = {
            f"{name}.{statistic}"
            for name, module in self.model.named_modules()
            if isinstance(module, FrozenBatchNorm2d)
            for statistic in ("running_mean", "running_var")
        }
        check_names(model.keys() - converted.keys() - merged, unknown, "an ImageNet ResNet")
        return converted


class WeightsCheckpointer(ICPCCheckpointer):
    """Saves a model's weights beside a training; ``--resume`` does not continue from them."""

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Leave the tag to the training's own checkpoints."""


def load_text_encoder(model: nn.Module, path: str) -> None:
    """Load CLIP's weights from ``clip://ViT-B-16`` or a file into ``model.text_encoder`` alone; no path: do nothing.

    Raises:
        ValueError: weights that do not cover the text encoder, or not of its shapes; GELU in place of QuickGELU.
    """
    if not path:
        return
    content = read_weights(locate(path))
    wanted = {name: value for name, value in model.state_dict().items() if name.startswith(TEXT_ENCODER)}
    found = {TEXT_ENCODER + name: value for name, value in content["model"].items() if TEXT_ENCODER + name in wanted}
    check_names(wanted.keys() - found.keys(), (), f"MODEL.TEXT_ENCODER.WEIGHTS, {path}", content["model"])
    check_activation(model, trained_with_quick_gelu(path, content))
    model.load_state_dict({name: fit(name, tensor, wanted[name]) for name, tensor in found.items()}, strict=False)
    logger.info(f"The text encoder has CLIP's weights of {path}.")


def _by_module(names: list[str]) -> str:
    """Count names by the module that they are in: "neck (16), sem_seg_head (26)"."""
    depths = ((name, 2 if name.startswith(("backbone.", "visual.")) else 1) for name in names)
    counts = Counter(".".join(name.split(".")[:depth]) for name, depth in depths)
    return ", ".join(f"{module} ({count})" for module, count in counts.items())
