"""One rule of resizing, wherever a model's input is made: OpenCV's or Pillow's."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from PIL import Image

from icpc_d2.data.augmentation import resizes_at_scales
from icpc_d2.data.dataset_mapper import SemSegDatasetMapper, training_augmentations
from icpc_d2.data.resizing import METHODS, ResizeShortestEdge, ResizeTransform
from icpc_d2.evaluation.label_maps import as_evaluated
from icpc_d2.inference.predictor import Predictor
from tests.support.checkpoints import tiny_cfg, write_checkpoint

HEIGHT, WIDTH = 60, 90
# Shrunk to a quarter, shrunk a little, enlarged, and shrunk in one direction alone; (height, width).
SIZES = [(15, 23), (51, 77), (120, 181), (40, 90)]


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def opencv(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("size", SIZES)
def test_opencvs_images_and_labels_are_opencvs(size: tuple[int, int]) -> None:
    transform, image = ResizeTransform(HEIGHT, WIDTH, *size, "opencv"), pixels()
    np.testing.assert_array_equal(transform.apply_image(image), opencv(image, *size))
    np.testing.assert_array_equal(transform.apply_image(image[:, :, ::-1]), opencv(image, *size)[:, :, ::-1])
    for dtype in (np.uint8, np.uint16, np.int32, np.int64):
        label = (pixels()[:, :, 0].astype(dtype) * (1 if dtype == np.uint8 else 257)).astype(dtype)
        found = transform.apply_segmentation(label)
        wanted = cv2.resize(label.astype(np.float64), size[::-1], interpolation=cv2.INTER_NEAREST)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("size", SIZES)
def test_pillows_images_are_detectron2s(size: tuple[int, int]) -> None:
    image = pixels()
    found = ResizeTransform(HEIGHT, WIDTH, *size, "pillow").apply_image(image)
    np.testing.assert_array_equal(found, T.ResizeTransform(HEIGHT, WIDTH, *size).apply_image(image))
    assert np.abs(found.astype(int) - opencv(image, *size)).max() > 0


def test_the_short_side_is_detectron2s_and_0_leaves_the_image() -> None:
    for short, long in ((30, 400), (30, 40), (100, 120)):
        transform = ResizeShortestEdge(short, long, "opencv").get_transform(pixels())
        wanted = T.ResizeShortestEdge.get_output_shape(HEIGHT, WIDTH, short, long)
        assert (transform.new_h, transform.new_w) == wanted
    image = pixels()
    assert ResizeShortestEdge(0, 40, "opencv").get_transform(image).apply_image(image) is image


def test_several_sizes_of_an_image_as_it_is() -> None:
    """A short side of 0 is no size to be multiplied: it would be one pixel."""
    image = np.random.default_rng(0).integers(0, 256, (60, 91, 3), np.uint8)
    for method in METHODS:
        half, same, double = (
            r.get_transform(image).apply_image(image) for r in resizes_at_scales([0.5, 1, 2], 0, 64, method)
        )
        assert half.shape == (30, 46, 3) and double.shape == (120, 182, 3)
        np.testing.assert_array_equal(same, image)


def test_other_methods_are_refused() -> None:
    with pytest.raises(ValueError, match=r"INPUT\.RESIZE is 'PIL'; it can be 'opencv' or 'pillow'"):
        ResizeTransform(2, 2, 4, 4, "PIL")


@pytest.fixture(scope="module")
def cfg() -> CfgNode:
    """A short side of 32: the images below become 32 x 48, and are not padded."""
    options = ("INPUT.RESIZE", "opencv", "INPUT.MIN_SIZE_TEST", 32, "TEST.PAD_TO_STRIDE", False)
    return tiny_cfg(*options, "TEST.AUG.SCALES", [1.0], "TEST.AUG.FLIP", False)


@pytest.fixture(scope="module")
def predictor(cfg: CfgNode, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor(write_checkpoint(tmp_path_factory.mktemp("model"), cfg), "cpu")


@pytest.fixture
def image_file(tmp_path: Path) -> str:
    Image.fromarray(pixels()).save(tmp_path / "image.png")
    return str(tmp_path / "image.png")


def by_evaluation(cfg: CfgNode, predictor: Predictor, image_file: str) -> None:
    inputs = SemSegDatasetMapper(cfg, False)({"file_name": image_file})
    as_evaluated(cfg, predictor._model)([inputs])


def by_multi_scale_testing(cfg: CfgNode, predictor: Predictor, image_file: str) -> None:
    cfg = cfg.clone()
    cfg.TEST.AUG.ENABLED = True
    by_evaluation(cfg, predictor, image_file)


def by_the_predictor(cfg: CfgNode, predictor: Predictor, image_file: str) -> None:
    predictor(image_file)


@pytest.mark.parametrize("ask", [by_evaluation, by_multi_scale_testing, by_the_predictor])
def test_a_model_is_asked_about_an_image_by_the_same_rule(
    ask: Callable, cfg: CfgNode, predictor: Predictor, image_file: str
) -> None:
    model, seen = predictor._model, []
    hook = model.backbone.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    with hook, torch.no_grad():
        ask(cfg, predictor, image_file)
    (image,) = (seen[0] * model.pixel_std + model.pixel_mean).round().numpy()
    np.testing.assert_array_equal(image.transpose(1, 2, 0), opencv(pixels(), 32, 48))


def test_a_training_resizes_image_and_label_by_the_same_rule(cfg: CfgNode) -> None:
    cfg = cfg.clone()
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.SCALE_RANGE, cfg.INPUT.CROP.ENABLED = [32], [1.0, 1.0], False
    cfg.INPUT.RANDOM_FLIP = "none"
    inputs = T.AugInput(pixels(), sem_seg=pixels()[:, :, 1])
    T.AugmentationList(training_augmentations(cfg, 255))(inputs)
    np.testing.assert_array_equal(inputs.image, opencv(pixels(), 32, 48))
    wanted = cv2.resize(pixels()[:, :, 1], (48, 32), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(inputs.sem_seg, wanted)
