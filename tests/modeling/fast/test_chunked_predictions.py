"""Label maps by chunks of classes against the argmax of all logits, and the memory that they take."""

import sys
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from icpc_d2.analysis.timing import peak_growth
from icpc_d2.modeling.fast import chunked_predictions
from icpc_d2.modeling.fast.chunked_predictions import ChunkedLogits, ChunkedProbabilities
from icpc_d2.modeling.predictions import View
from icpc_d2.modeling.windows import sliding_windows, whole_images
from tests.support.models import make_batch, predict_coarsely


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
    prediction = ChunkedLogits(windows, (97, 131), output_size)
    pixels = max(97 * 131, output_size[0] * output_size[1])
    monkeypatch.setattr(chunked_predictions, "CHUNK_BYTES", 4 * pixels * classes_at_once)
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
    monkeypatch.setattr(chunked_predictions, "CHUNK_BYTES", 0)
    windows = whole_images(predict_coarsely, torch.randn(1, 3, 96, 160), [(96, 131)])[0]
    prediction = ChunkedLogits(windows, (96, 131), (41, 57))
    wanted = torch.tensor(candidates)[prediction.logits()[candidates].argmax(dim=0)]
    assert torch.equal(prediction.labels(candidates), wanted)


@pytest.mark.parametrize(("classes_at_once", "most"), [(1, 14), (16, 16), (99, 30)])
def test_averages_are_of_probabilities(monkeypatch: pytest.MonkeyPatch, classes_at_once: int, most: int) -> None:
    """Views of several sizes, one by sliding window, one mirrored; logits so large that their exponentials overflow."""
    monkeypatch.setattr(chunked_predictions, "CHUNK_BYTES", 4 * 97 * 131 * classes_at_once)
    small = whole_images(lambda images: 100 * predict_coarsely(images), torch.randn(1, 3, 64, 96), [(57, 79)])[0]
    large = sliding_windows(predict_coarsely, torch.randn(3, 97, 131), 64, 43, 4, 32)
    views = [ChunkedLogits(small, (57, 79), (60, 83)), ChunkedLogits(large, (97, 131), (60, 83))]
    average = ChunkedProbabilities([View(views[0], mirrored=False), View(views[1], mirrored=True)])
    wanted = (views[0].logits().softmax(dim=0) + views[1].logits().softmax(dim=0).flip(2)) / 2
    torch.testing.assert_close(average.scores(), wanted)
    labels = average.scores().argmax(dim=0)
    asked = []
    logits = ChunkedLogits.logits
    monkeypatch.setattr(ChunkedLogits, "logits", lambda self, classes: asked.append(classes) or logits(self, classes))
    assert torch.equal(ChunkedProbabilities(average.views).labels(), labels)
    assert max(classes.stop - classes.start for classes in asked) == most, "never more classes at full size at once"


def test_the_first_of_equal_classes_wins() -> None:
    coarse = torch.zeros(5, 4, 4)
    coarse[2] = coarse[4] = 1
    (windows,) = whole_images(lambda images: coarse[None], torch.zeros(1, 3, 16, 16), [(16, 16)])
    assert (ChunkedLogits(windows, (16, 16), (16, 16)).labels() == 2).all()


def test_label_maps_of_half_precision_logits() -> None:
    images = torch.randn(1, 3, 64, 96)
    (windows,) = whole_images(lambda x: predict_coarsely(x).bfloat16(), images, [(64, 96)])
    prediction = ChunkedLogits(windows, (64, 96), (100, 150))
    assert torch.equal(prediction.labels(), prediction.logits().argmax(dim=0))


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone forgets an earlier peak")
@pytest.mark.parametrize("sliding", [True, False])
def test_peak_memory_is_below_a_quarter_of_full_logits(sliding: bool) -> None:
    coarse, image = torch.randn(1, 847, 64, 128), torch.zeros(3, 256, 512)

    def predict() -> ChunkedLogits:
        if sliding:
            windows = sliding_windows(lambda x: coarse[..., :64].expand(len(x), -1, -1, -1), image, 256, 171, 4, 32)
        else:
            (windows,) = whole_images(lambda _: coarse, image[None], [(256, 512)])
        return ChunkedLogits(windows, (256, 512), (512, 1024))

    full_logits = 847 * 512 * 1024 * 4 / 2**20
    assert peak_growth(lambda: predict().labels(), "cpu") <= full_logits / 4
    # The same measure sees the full logits of a tenth of the classes.
    assert peak_growth(lambda: predict().logits(slice(0, 85)), "cpu") >= full_logits / 10


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
