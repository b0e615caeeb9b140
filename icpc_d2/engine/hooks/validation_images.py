"""Images of a model's predictions, in TensorBoard, while it is trained."""

from dataclasses import dataclass

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import HookBase
from detectron2.evaluation import inference_context
from torch import nn

from icpc_d2.data.class_matching import inverse
from icpc_d2.data.dataset_mapper import SemSegDatasetMapper
from icpc_d2.evaluation.evaluators import order_in
from icpc_d2.evaluation.image_writer import draw_sample, spread
from icpc_d2.modeling.open_vocabulary import predict_open

NUM_IMAGES = 4


@dataclass(eq=False)
class ValidationImages(HookBase):
    """Draws image | label | prediction | A of a few samples, always the same ones, at each evaluation.

    Models that compare no text with images are drawn without A.
    """

    cfg: CfgNode
    model: nn.Module  # not wrapped for several processes
    dataset: str  # a registered validation set, over which the samples are spread evenly
    _samples = ()

    def before_train(self) -> None:
        """Choose the samples."""
        self._samples = spread(DatasetCatalog.get(self.dataset), NUM_IMAGES)
        self._mapper = SemSegDatasetMapper(self.cfg, False)

    def after_step(self) -> None:
        """Draw when Detectron2's EvalHook has evaluated."""
        following, period = self.trainer.iter + 1, self.cfg.TEST.EVAL_PERIOD
        if period > 0 and following % period == 0 and following != self.trainer.max_iter:
            self._draw()

    def after_train(self) -> None:
        """Draw after the last evaluation; not when training has failed."""
        if self.trainer.iter + 1 >= self.trainer.max_iter:
            self._draw()

    def _draw(self) -> None:
        metadata, order = MetadataCatalog.get(self.dataset), order_in(self.cfg, self.dataset)
        to_dataset = np.arange(len(metadata.stuff_classes)) if order is None else inverse(order)
        with inference_context(self.model), torch.no_grad():
            for index, sample in enumerate(self._samples):
                inputs = self._mapper({"file_name": sample["file_name"]})
                (output,) = predict_open(self.model, [inputs], "decoder")
                maps = (logits and to_dataset[logits.labels().cpu().numpy()] for logits in output)
                drawn = draw_sample(sample, *maps, metadata=metadata, value_range=self.cfg.INPUT.VALUE_RANGE)
                self.trainer.storage.put_image(f"validation/{index}", drawn.transpose(2, 0, 1))
