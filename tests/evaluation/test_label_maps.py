from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import SemSegEvaluator as Detectron2Evaluator
from PIL import Image
from torch import Tensor, nn

import icpc_d2  # noqa: F401  registers the models
from icpc_d2.config import add_icpc_config
from icpc_d2.data.reading import read_label
from icpc_d2.engine import Trainer


class Model(nn.Module):
    """Answers with the red channel's parity, once as logits and once as label maps, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, bool]] = []

    def forward(self, batched_inputs: list[dict]) -> list[dict[str, Tensor]]:
        self.asked.append(("logits", self.training))
        labels = self._labels(batched_inputs)
        return [{"sem_seg": torch.stack([1.0 - labels, labels.float()])}]

    def label_maps(self, batched_inputs: list[dict]) -> list[dict[str, Tensor]]:
        self.asked.append(("labels", self.training))
        return [{"labels": self._labels(batched_inputs)}]

    def _labels(self, batched_inputs: list[dict]) -> Tensor:
        (inputs,) = batched_inputs
        return torch.full((inputs["height"], inputs["width"]), int(inputs["image"][0, 0, 0]) % 2)


@pytest.fixture
def cfg(tmp_path: Path) -> Iterator[CfgNode]:
    """Three images, of which `Model` gets two right."""
    samples = []
    for index, red in enumerate((0, 1, 3)):
        sample = {"file_name": str(tmp_path / f"{index}.png"), "sem_seg_file_name": str(tmp_path / f"{index}_.png")}
        Image.fromarray(np.full((32, 40, 3), red, np.uint8)).save(sample["file_name"])
        Image.fromarray(np.full((32, 40), red == 3, np.uint8)).save(sample["sem_seg_file_name"])
        samples.append(sample)
    name = f"tiny_{tmp_path.name}"
    DatasetCatalog.register(name, lambda: samples)
    MetadataCatalog.get(name).set(stuff_classes=["a", "b"], ignore_label=255, evaluator_type="sem_seg")
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.OUTPUT_DIR = str(tmp_path / "output")
    cfg.DATASETS.TEST = (name,)
    cfg.INPUT.FORMAT, cfg.INPUT.MIN_SIZE_TEST, cfg.DATALOADER.NUM_WORKERS = "RGB", 32, 0
    cfg.TEST.SEM_SEG.NUM_PICTURES = 2
    yield cfg
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def test_evaluations_ask_for_label_maps(cfg: CfgNode) -> None:
    model = Model().train()
    results = Trainer.test(cfg, model)
    assert model.asked == [("labels", False)] * 3
    assert model.training, "the mode is put back"
    assert results["sem_seg"]["pACC"] == pytest.approx(200 / 3)
    assert len(list(Path(cfg.OUTPUT_DIR).glob("pictures/*.png"))) == 2


def test_logits_on_request_serve_other_projects_evaluators(cfg: CfgNode) -> None:
    expected = Trainer.test(cfg, Model())["sem_seg"]
    cfg.TEST.SEM_SEG.LABEL_MAPS = False
    model = Model()
    evaluator = Detectron2Evaluator(cfg.DATASETS.TEST[0], distributed=False, sem_seg_loading_fn=read_label)
    found = Trainer.test(cfg, model, [evaluator])["sem_seg"]
    assert model.asked == [("logits", False)] * 3
    assert found["mIoU"] == expected["mIoU"]


def test_models_that_know_logits_alone_are_evaluated_all_the_same(cfg: CfgNode) -> None:
    class Baseline(nn.Module):
        def __init__(self, model: Model) -> None:
            super().__init__()
            self.model = model

        def forward(self, batched_inputs: list[dict]) -> list[dict[str, Tensor]]:
            return self.model(batched_inputs)

    cfg.TEST.SEM_SEG.LOSS = False  # which needs scores
    assert Trainer.test(cfg, Baseline(Model())) == Trainer.test(cfg, Model())
