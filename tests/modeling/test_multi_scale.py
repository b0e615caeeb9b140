"""Multi-scale testing against its definition, and by way of an evaluation."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from PIL import Image
from torch import Tensor, nn

from icpc_d2.config import add_icpc_config
from icpc_d2.data import SemSegDatasetMapper
from icpc_d2.data.augmentation import resizes_at_scales
from icpc_d2.engine import Trainer
from icpc_d2.modeling.multi_scale import MultiScale
from tests.support.models import make_cfg

SCALES = (0.5, 1.0, 1.75)
SHORT, LONG = 64, 160
OUTPUT = {"height": 75, "width": 101}


@pytest.fixture(scope="module")
def models() -> Callable[[bool], nn.Module]:
    """A tiny model, by sliding window or not."""
    built = {}
    for sliding in (True, False):
        torch.manual_seed(0)
        keys = {"ENABLED": sliding, "SIZE": 64, "STRIDE": 43}
        options = [word for key, value in keys.items() for word in (f"TEST.SLIDING_WINDOW.{key}", value)]
        built[sliding] = build_model(make_cfg("quickstart/icpc_tiny.yaml", *options)).eval()
        nn.init.normal_(built[sliding].sem_seg_head.predictor[-1].weight, std=0.5)  # probabilities that are not equal
    return built.get


def make_image(height: int, width: int) -> Tensor:
    return torch.randint(256, (3, height, width), dtype=torch.uint8)


def definition(model: nn.Module, image: Tensor, mirrors: tuple[bool, ...]) -> Tensor:
    """Softmax of the logits at each size, resized to the output, mirrored ones turned back; their mean."""
    height, width = image.shape[1:]
    pillow = Image.fromarray(image.permute(1, 2, 0).numpy())
    total, count = torch.zeros(()), 0
    for scale in SCALES:
        factor = scale * min(SHORT / min(height, width), LONG / max(height, width))
        size = int(width * factor + 0.5), int(height * factor + 0.5)
        resized = torch.from_numpy(np.array(pillow.resize(size, Image.BILINEAR)).transpose(2, 0, 1).copy())
        for mirror in mirrors:
            inputs = {"image": resized.flip(2) if mirror else resized, **OUTPUT}
            probabilities = model([inputs])[0]["sem_seg"].softmax(dim=0)
            total, count = total + (probabilities.flip(2) if mirror else probabilities), count + 1
    return total / count


@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize("sliding", [True, False])
@pytest.mark.parametrize(("height", "width"), [(97, 131), (33, 171)])
def test_equals_its_definition(models: Callable, sliding: bool, mirror: bool, height: int, width: int) -> None:
    model, image = models(sliding), make_image(height, width)
    multi_scale = MultiScale(model, resizes_at_scales(SCALES, SHORT, LONG), mirror).eval()
    batch = [{"image": image, **OUTPUT}]
    with torch.no_grad():
        wanted = definition(model, image, (False, True) if mirror else (False,))
        probabilities = multi_scale(batch)[0]["sem_seg"]
        labels = multi_scale.label_maps(batch)[0]["labels"]
    assert wanted.std(dim=0).mean() > 0.01
    torch.testing.assert_close(probabilities, wanted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(probabilities.sum(dim=0), torch.ones(75, 101))
    assert torch.equal(labels, probabilities.argmax(dim=0))


def test_one_scale_alone_is_the_single_scale_protocol(models: Callable) -> None:
    model, image = models(True), make_image(64, 97)
    multi_scale = MultiScale(model, resizes_at_scales([1.0], 64, 128), mirror=False).eval()
    with torch.no_grad():
        found, wanted = multi_scale.label_maps([{"image": image}]), model.label_maps([{"image": image}])
    assert torch.equal(found[0]["labels"], wanted[0]["labels"])


@pytest.mark.parametrize("scales", [(), (1.0, 0.0)])
def test_scales_that_cannot_be_are_refused(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"TEST\.AUG\.SCALES is .* one positive factor"):
        resizes_at_scales(scales, 64, 128)


class Recording(nn.Module):
    """Passes on what it is asked, and remembers how large the images were."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.sizes: list[tuple[int, ...]] = []

    def predictions(self, batched_inputs: list[dict]) -> list:
        self.sizes += [tuple(inputs["image"].shape[1:]) for inputs in batched_inputs]
        return self.model.predictions(batched_inputs)


@pytest.fixture
def cfg(tmp_path: Path) -> Iterator[CfgNode]:
    """One image of 48 x 80, to be tested at 32."""
    sample = {"file_name": str(tmp_path / "image.png"), "sem_seg_file_name": str(tmp_path / "label.png")}
    Image.fromarray(np.random.randint(0, 256, (48, 80, 3), dtype=np.uint8)).save(sample["file_name"])
    Image.fromarray(np.random.randint(0, 6, (48, 80), dtype=np.uint8)).save(sample["sem_seg_file_name"])
    name = f"scales_{tmp_path.name}"
    DatasetCatalog.register(name, lambda: [sample])
    MetadataCatalog.get(name).set(stuff_classes=list("abcdef"), ignore_label=255, evaluator_type="sem_seg")
    cfg = get_cfg()
    add_icpc_config(cfg)
    cfg.DATASETS.TEST, cfg.OUTPUT_DIR = (name,), str(tmp_path / "output")
    cfg.INPUT.FORMAT, cfg.INPUT.MIN_SIZE_TEST, cfg.DATALOADER.NUM_WORKERS = "RGB", 32, 0
    cfg.TEST.AUG.ENABLED = True
    yield cfg
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def test_an_evaluation_sees_each_size_of_the_image_as_it_is_on_disk(cfg: CfgNode, models: Callable) -> None:
    recording = Recording(models(False))
    results = Trainer.test(cfg, recording)
    sizes = [(16, 27), (24, 40), (32, 53), (40, 67), (48, 80), (56, 93)]
    assert recording.sizes == [size for size in sizes for _ in range(2)]
    assert 0 <= results["sem_seg"]["pACC"] <= 100


def test_the_image_comes_as_it_is_on_disk(cfg: CfgNode) -> None:
    (sample,) = DatasetCatalog.get(cfg.DATASETS.TEST[0])
    assert SemSegDatasetMapper(cfg, False)(sample)["image"].shape == (3, 48, 80)
    cfg.TEST.AUG.ENABLED = False
    assert SemSegDatasetMapper(cfg, False)(sample)["image"].shape == (3, 32, 53)


def test_models_that_know_logits_alone_are_refused(cfg: CfgNode) -> None:
    with pytest.raises(ValueError, match=r"TEST\.AUG\.ENABLED needs a model .* Identity cannot"):
        Trainer.test(cfg, nn.Identity())
