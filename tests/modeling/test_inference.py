"""Full-size logits and label maps against their definitions, and the memory that label maps take."""

from collections.abc import Callable

import pytest
import torch
from detectron2.modeling.postprocessing import sem_seg_postprocess
from torch import Tensor
from torch.nn import functional as F

from icpc_d2.modeling import inference
from icpc_d2.modeling.inference import AveragedPrediction, Prediction, View, sliding_windows, whole_images
from tests.support.models import make_batch
from tests.support.peak_memory import peak_growth


def predict(images: Tensor) -> Tensor:
    """Depends on the whole window: each pixel sees the window's mean."""
    assert images.shape[-1] % 32 == 0 and images.shape[-2] % 32 == 0
    return torch.cat([images + images.mean(dim=(2, 3), keepdim=True), images[:, :1] ** 2], dim=1)


def predict_coarsely(images: Tensor) -> Tensor:
    """30 classes at stride 4."""
    weights = torch.randn(30, 4, 1, 1, generator=torch.Generator().manual_seed(1))
    return F.conv2d(F.avg_pool2d(predict(images), 4), weights)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (97, 131), (150, 64), (40, 200), (33, 47)])
def test_equals_a_loop_over_windows(height: int, width: int, batch_size: int) -> None:
    image = torch.randn(3, height, width)
    size, stride = 64, 43
    windows = sliding_windows(predict, image, size, stride, batch_size, 32)
    found = Prediction(windows, (height, width), (height, width)).logits()

    tops = sorted({min(top, max(height - size, 0)) for top in range(0, max(height - size, 0) + stride, stride)})
    lefts = sorted({min(left, max(width - size, 0)) for left in range(0, max(width - size, 0) + stride, stride)})
    total, counts = torch.zeros(4, height, width), torch.zeros(height, width)
    for top in tops:
        for left in lefts:
            window = image[:, top : top + size, left : left + size]
            h, w = window.shape[1:]
            padded = F.pad(window, (0, -w % 32, 0, -h % 32))
            total[:, top : top + h, left : left + w] += predict(padded[None])[0, :, :h, :w]
            counts[top : top + h, left : left + w] += 1
    assert (counts > 0).all()
    assert len(windows) == len(tops) * len(lefts)
    torch.testing.assert_close(found, total / counts)


def test_windows_come_in_batches() -> None:
    sizes = []

    def counting(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return predict(images)

    sliding_windows(counting, torch.randn(3, 150, 107), 64, 43, 4, 32)
    assert sizes == [4, 2]


def test_an_image_of_the_windows_size_is_predicted_whole() -> None:
    image = torch.randn(3, 64, 64)
    windows = sliding_windows(predict, image, 64, 43, 4, 32)
    torch.testing.assert_close(Prediction(windows, (64, 64), (64, 64)).logits(), predict(image[None])[0])


def test_whole_images_are_up_sampled_cropped_and_resized() -> None:
    """As Detectron2's head and `SemanticSegmentor` do it."""
    images, sizes = torch.randn(2, 3, 96, 160), [(96, 131), (70, 160)]
    full = F.interpolate(predict_coarsely(images), scale_factor=4, mode="bilinear", align_corners=False)
    for windows, logits, size in zip(whole_images(predict_coarsely, images, sizes), full, sizes, strict=True):
        found = Prediction(windows, size, (133, 77)).logits()
        assert torch.equal(found, sem_seg_postprocess(logits, size, 133, 77))


@pytest.mark.parametrize(("classes_at_once", "starts"), [(1, [0, 8, 16]), (19, [0, 16]), (24, [0]), (99, [0])])
@pytest.mark.parametrize("output_size", [(97, 131), (41, 300), (20, 30)])
@pytest.mark.parametrize("sliding", [True, False])
def test_label_maps_are_the_argmax_of_all_logits(
    monkeypatch: pytest.MonkeyPatch,
    sliding: bool,
    output_size: tuple[int, int],
    classes_at_once: int,
    starts: list[int],
) -> None:
    image = torch.randn(3, 97, 131)
    if sliding:
        windows = sliding_windows(predict_coarsely, image, 64, 43, 4, 32)
    else:
        windows = whole_images(predict_coarsely, F.pad(image, (0, 29, 0, 31))[None], [(97, 131)])[0]
    prediction = Prediction(windows, (97, 131), output_size)
    pixels = max(97 * 131, output_size[0] * output_size[1])
    monkeypatch.setattr(inference, "CHUNK_BYTES", 4 * pixels * classes_at_once)
    asked = []
    logits = prediction.logits
    monkeypatch.setattr(prediction, "logits", lambda classes: asked.append(classes) or logits(classes))
    labels = prediction.labels()
    assert labels.dtype == torch.int64
    assert torch.equal(labels, logits().argmax(dim=0))
    assert torch.equal(torch.cat([logits(classes) for classes in asked]), logits())
    assert [classes.start for classes in asked] == starts


@pytest.mark.parametrize("candidates", [[3], [0, 7, 8, 29], [16, 17, 18]])
def test_label_maps_of_some_classes(monkeypatch: pytest.MonkeyPatch, candidates: list[int]) -> None:
    monkeypatch.setattr(inference, "CHUNK_BYTES", 0)
    windows = whole_images(predict_coarsely, torch.randn(1, 3, 96, 160), [(96, 131)])[0]
    prediction = Prediction(windows, (96, 131), (41, 57))
    wanted = torch.tensor(candidates)[prediction.logits()[candidates].argmax(dim=0)]
    assert torch.equal(prediction.labels(candidates), wanted)


@pytest.mark.parametrize(("classes_at_once", "most"), [(1, 14), (16, 16), (99, 30)])
def test_averages_are_of_probabilities(monkeypatch: pytest.MonkeyPatch, classes_at_once: int, most: int) -> None:
    """Views of several sizes, one by sliding window, one mirrored; logits so large that their exponentials overflow."""
    monkeypatch.setattr(inference, "CHUNK_BYTES", 4 * 97 * 131 * classes_at_once)
    small = whole_images(lambda images: 100 * predict_coarsely(images), torch.randn(1, 3, 64, 96), [(57, 79)])[0]
    large = sliding_windows(predict_coarsely, torch.randn(3, 97, 131), 64, 43, 4, 32)
    views = [Prediction(small, (57, 79), (60, 83)), Prediction(large, (97, 131), (60, 83))]
    average = AveragedPrediction([View(views[0], mirrored=False), View(views[1], mirrored=True)])
    wanted = (views[0].logits().softmax(dim=0) + views[1].logits().softmax(dim=0).flip(2)) / 2
    torch.testing.assert_close(average.scores(), wanted)
    labels = average.scores().argmax(dim=0)
    asked = []
    logits = Prediction.logits
    monkeypatch.setattr(Prediction, "logits", lambda self, classes: asked.append(classes) or logits(self, classes))
    assert torch.equal(AveragedPrediction(average.views).labels(), labels)
    assert max(classes.stop - classes.start for classes in asked) == most, "never more classes at full size at once"


def test_the_first_of_equal_classes_wins() -> None:
    coarse = torch.zeros(5, 4, 4)
    coarse[2] = coarse[4] = 1
    (windows,) = whole_images(lambda images: coarse[None], torch.zeros(1, 3, 16, 16), [(16, 16)])
    assert (Prediction(windows, (16, 16), (16, 16)).labels() == 2).all()


def test_label_maps_of_half_precision_logits() -> None:
    images = torch.randn(1, 3, 64, 96)
    (windows,) = whole_images(lambda x: predict_coarsely(x).bfloat16(), images, [(64, 96)])
    prediction = Prediction(windows, (64, 96), (100, 150))
    assert torch.equal(prediction.labels(), prediction.logits().argmax(dim=0))


MEMORY = """
import torch
from icpc_d2.modeling.inference import Prediction, sliding_windows, whole_images

coarse = torch.randn(1, 847, 128, 256)
start()
if {sliding}:
    image = torch.zeros(3, 512, 1024)
    windows = sliding_windows(lambda images: coarse[..., :128].expand(len(images), -1, -1, -1), image, 512, 341, 4, 32)
else:
    (windows,) = whole_images(lambda images: coarse, torch.zeros(1, 3, 512, 1024), [(512, 1024)])
prediction = Prediction(windows, (512, 1024), (1024, 2048))
{answer}
"""


@pytest.mark.slow
@pytest.mark.parametrize("sliding", [True, False])
def test_peak_memory_is_below_a_quarter_of_full_logits(sliding: bool) -> None:
    full_logits = 847 * 1024 * 2048 * 4 / 2**20
    assert peak_growth(MEMORY.format(sliding=sliding, answer="prediction.labels()")) <= full_logits / 4
    # The same measure sees the full logits of a tenth of the classes.
    assert peak_growth(MEMORY.format(sliding=sliding, answer="prediction.logits(slice(0, 85))")) >= full_logits / 10


@pytest.mark.parametrize("options", [(), ("TEST.SLIDING_WINDOW.SIZE", 64, "TEST.SLIDING_WINDOW.STRIDE", 48)])
@pytest.mark.parametrize("predict_from", ["decoder", "alignment"])
def test_label_maps_of_the_model_are_the_argmax_of_its_logits(
    build_tiny: Callable, predict_from: str, options: tuple
) -> None:
    enabled = ("TEST.SLIDING_WINDOW.ENABLED", bool(options))
    model = build_tiny("MODEL.PREDICT_FROM", predict_from, *enabled, *options).eval()
    batch = [{**make_batch((97, 131))[0], "height": 50, "width": 70}, *make_batch((64, 80))]
    with torch.no_grad():
        logits, labels = model(batch), model.label_maps(batch)
    assert [tuple(result["sem_seg"].shape) for result in logits] == [(6, 50, 70), (6, 64, 80)]
    assert [set(result) for result in labels] == [{"labels"}] * 2
    for full, found in zip(logits, labels, strict=True):
        assert torch.equal(found["labels"], full["sem_seg"].argmax(dim=0))
