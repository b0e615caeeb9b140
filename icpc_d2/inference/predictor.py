"""Five lines from a trained model to a segmented image: load, predict, look.

    from icpc_d2 import Predictor

    predictor = Predictor("output/quickstart/model_final.pth")
    prediction = predictor("image.jpg")
    prediction.save("overlay.png", "overlay")
    words = predictor("image.jpg", classes=["sky", "a red car", "everything else"])

A prediction's methods are in `icpc_d2.inference.prediction`.
"""

import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from torch import nn

from icpc_d2.checkpoint import ICPCCheckpointer
from icpc_d2.checkpoint.clip_weights import read_weights
from icpc_d2.checkpoint.model_file import config_within
from icpc_d2.checkpoint.sources import locate
from icpc_d2.config.load import load_config
from icpc_d2.config.resolve import resolve_device, resolve_norms
from icpc_d2.data.augmentation import resizes_at_scales
from icpc_d2.data.class_matching import class_colors_of
from icpc_d2.data.synonyms import names_of_classes
from icpc_d2.inference.image_reader import ImageLike, ModelInput, read_input
from icpc_d2.inference.prediction import Prediction
from icpc_d2.modeling import ICPC
from icpc_d2.modeling.class_names import resolve_class_names
from icpc_d2.modeling.multi_scale import MultiScale
from icpc_d2.modeling.open_vocabulary import predict_open
from icpc_d2.modeling.text.class_tokens import ClassTokens
from icpc_d2.visualization import Palette
from icpc_d2.visualization.palette import parse_colors

logger = logging.getLogger(__name__)

BATCH_SIZE = 8
CONFIG_NAME = "config.yaml"
# Vocabularies whose tokens and embeddings are kept.
VOCABULARIES = 16


class Predictor:
    """Segments images with a trained model.

    Without `classes`, it predicts as the config says (``MODEL.PREDICT_FROM``), by default from the decoder, and equals
    Detectron2's ``DefaultPredictor`` with an argmax. **The decoder's head is bound to the classes that it was trained
    for.** Other `classes` are predicted from the alignment A of image and text, which takes any names (Table 11's
    path): nothing is trained again, and the quality depends on what CLIP knew and training has left of it.

    It can be called from many threads at once: it holds no global state, and images do not change it.

    Attributes:
        classes: names that the model was trained for.
        device: of the model.
        predict_from: "decoder" or "alignment", unless a call says otherwise.
        tta: whether each image is seen at several sizes.
        value_range: of images of more than 8 bits, as in training (``INPUT.VALUE_RANGE``).
        read: reads and resizes an image, which a call does too: for threads that do so beside the model.
        batch_size: images of one size that go through the model at once, at most; may be set.
    """

    def __init__(
        self,
        source: str | os.PathLike | CfgNode,
        device: str | torch.device | None = None,
        tta: bool | None = None,
    ) -> None:
        """
        Args:
            source: a checkpoint, with its merged config inside of it (``icpc convert model``) or beside it as
                ``config.yaml`` (training leaves it there); ``hf://OWNER/NAME``, such a file on the hub; or a config,
                whose ``MODEL.WEIGHTS`` are loaded.
            device: such as "cpu", "cuda:1" or "mps". None: for a config its own, for a checkpoint a GPU if there is
                one.
            tta: test-time augmentation: see each image at the sizes of ``TEST.AUG.SCALES`` and, by ``TEST.AUG.FLIP``,
                mirrored, and average the probabilities, as an evaluation with ``TEST.AUG.ENABLED`` does. None: by that
                key.

        Raises:
            FileNotFoundError: there is no such checkpoint, or no config beside it.
            ValueError: weights and config do not fit.
        """
        cfg, self._model = load_model(source, device)
        self.classes = list(cfg.MODEL.CLASS_NAMES)
        self.device = torch.device(cfg.MODEL.DEVICE)
        self.predict_from = cfg.MODEL.PREDICT_FROM
        sizes = {"short_side": cfg.INPUT.MIN_SIZE_TEST, "max_long_side": cfg.INPUT.MAX_SIZE_TEST}
        self.tta = cfg.TEST.AUG.ENABLED if tta is None else tta
        self._evaluated = self._model
        if self.tta:
            resizes = resizes_at_scales(cfg.TEST.AUG.SCALES, **sizes, method=cfg.INPUT.RESIZE)
            self._evaluated = MultiScale(self._model, resizes, cfg.TEST.AUG.FLIP)
            sizes["short_side"] = 0  # each size is resized from the image as it is
        self.value_range, self.batch_size = tuple(cfg.INPUT.VALUE_RANGE), BATCH_SIZE
        self.read = partial(
            read_input,
            image_format=cfg.INPUT.FORMAT,
            method=cfg.INPUT.RESIZE,
            value_range=self.value_range,
            **sizes,
        )
        colors = parse_colors(cfg.MODEL.CLASS_COLORS, len(self.classes))
        self._palette = Palette(self.classes, colors or training_colors(cfg.DATASETS.TRAIN, self.classes))
        self._vocabulary = lru_cache(VOCABULARIES)(self._read_vocabulary)

    def __call__(
        self,
        images: ImageLike | ModelInput | Sequence[ImageLike | ModelInput],
        classes: Iterable[str | Sequence[str]] | str | None = None,
        predict_from: str | None = None,
    ) -> Prediction | list[Prediction]:
        """Predict an image, or each of a list of them.

        Args:
            images: each a path, a PIL image, or an array (H, W, 3) or (H, W) of uint8, RGB or grey, or what
                :attr:`read` gives for these. Those of a list that have one size go through the model together.
            classes: any names to predict from the alignment, read by
                :func:`icpc_d2.data.synonyms.names_of_classes`. The text embeddings of a class's names are averaged,
                and the first one names it.
            predict_from: "decoder" or "alignment"; None: :attr:`predict_from`, or the alignment if there are `classes`.

        Raises:
            BadFileError: a file that is no readable image.
            ValueError: an image or a name that cannot be used, or the decoder is asked for other classes.
        """
        if isinstance(images, ModelInput) or not isinstance(images, list | tuple):
            return self([images], classes, predict_from)[0]
        tokens, palette = None, self._palette
        if classes is not None:
            tokens, palette = self._vocabulary(names_of_classes(classes))
        predict_from = predict_from or (self.predict_from if classes is None else "alignment")
        inputs = [image if isinstance(image, ModelInput) else self.read(image) for image in images]
        by_size = defaultdict(list)
        for index, read in enumerate(inputs):
            by_size[read.size].append(index)
        predictions: dict[int, Prediction] = {}
        for indices in by_size.values():
            # Of one size alone: padding to a common one would change what the model sees of the smaller ones.
            for start in range(0, len(indices), self.batch_size):
                batch = indices[start : start + self.batch_size]
                found = self._predict_batch([inputs[index] for index in batch], tokens, palette, predict_from)
                predictions.update(zip(batch, found, strict=True))
        return [predictions[index] for index in range(len(images))]

    predict = __call__

    @torch.no_grad()
    def _predict_batch(
        self, inputs: list[ModelInput], tokens: ClassTokens | None, palette: Palette, predict_from: str
    ) -> list[Prediction]:
        start = time.perf_counter()
        outputs = predict_open(self._evaluated, [read.for_model for read in inputs], predict_from, tokens)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        model_seconds = (time.perf_counter() - start) / len(inputs)
        predictions = []
        for read, (decision, alignment) in zip(inputs, outputs, strict=True):
            start = time.perf_counter()
            labels = decision.labels().cpu().numpy()
            seconds = {"read": read.seconds, "model": model_seconds, "labels": time.perf_counter() - start}
            scores = decision.to("cpu")
            aligned = scores if alignment is decision else alignment and alignment.to("cpu")
            predictions.append(Prediction(read.image, labels, palette, predict_from, scores, aligned, seconds))
        return predictions

    def _read_vocabulary(self, names: tuple[tuple[str, ...], ...]) -> tuple[ClassTokens, Palette]:
        if not isinstance(self._model, ICPC):
            raise ValueError("this model compares no text with images, so it knows its own classes alone.")
        logger.info(
            f"{len(names)} classes by {sum(map(len, names))} names: predicting from the alignment, since the decoder's "
            f"head is bound to the {len(self.classes)} training classes."
        )
        return self._model.class_tokens.renamed(names), self._palette.renamed([name for name, *_ in names])


def load_model(
    source: str | os.PathLike | CfgNode, device: str | torch.device | None = None
) -> tuple[CfgNode, nn.Module]:
    """Load the frozen config, with device and class names settled, and the model, in eval mode without gradients.

    Arguments and errors are those of :class:`Predictor`.
    """
    cfg = source.clone() if isinstance(source, CfgNode) else read_config(Path(locate(str(source))))
    cfg.defrost()
    if device is not None or not isinstance(source, CfgNode):
        gpus = {"cuda": torch.cuda, "mps": torch.backends.mps}
        cfg.MODEL.DEVICE = str(device or next((name for name, gpu in gpus.items() if gpu.is_available()), "cpu"))
    resolve_device(cfg)
    resolve_norms(cfg, num_processes=1)
    resolve_class_names(cfg)
    cfg.freeze()
    model = build_model(cfg).eval().requires_grad_(False)
    ICPCCheckpointer(model, class_names=cfg.MODEL.CLASS_NAMES, whole=True).load(cfg.MODEL.WEIGHTS)
    return cfg, model


def read_config(weights: Path) -> CfgNode:
    """Read the merged config that belongs to a checkpoint: the one inside of it, else ``config.yaml`` beside it.

    Raises:
        FileNotFoundError: there is no such checkpoint, or no config.
        ConfigError: the config cannot be read, or a value is of another type than its key's.
    """
    if not weights.is_file():
        raise FileNotFoundError(f"There is no checkpoint '{weights}'.")
    config, text = weights, config_within(weights)
    if text is None and not (config := weights.with_name(CONFIG_NAME)).is_file():
        read_weights(str(weights))  # says so if it is damaged
        raise FileNotFoundError(
            f"There is no {CONFIG_NAME} beside {weights}, nor a config inside of it. Copy the one that training wrote "
            "into its output folder, or give a config instead: Predictor(cfg) with MODEL.WEIGHTS set."
        )
    # Another release of Detectron2 may have keys that this one does not know; they concern none of our models.
    cfg = load_config(str(config), text=text, skip_unknown=True)
    cfg.MODEL.WEIGHTS = str(weights)
    return cfg


def training_colors(datasets: Sequence[str], classes: Sequence[str]) -> list[Sequence[int]] | None:
    """Return the colours that the training set's metadata gives these classes; None if it is unknown or has none."""
    # Asking the catalog for an unknown name would register it.
    known = [name for name in datasets if name in MetadataCatalog.list()]
    try:
        colors = class_colors_of(known[0], classes, datasets[0]) if known else []
    except ValueError:  # other classes: a name has been registered anew since the training
        return None
    return colors or None
