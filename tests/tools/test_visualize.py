"""Each figure from the command line, of tiny models on tiny pictures."""

from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from matplotlib.figure import Figure
from open_clip import SimpleTokenizer
from PIL import Image
from torch.nn import functional as F

from icpc_d2.data.scenes.captioned import STYLES, draw_captioned_scene
from icpc_d2.tools.visualize.command import main
from icpc_d2.tools.visualize.inspection import embeddings, nearest_words, score_maps
from icpc_d2.tools.visualize.trained import dataset_samples, load_trained, split_title
from tests.support.checkpoints import write_checkpoint
from tests.support.models import NAMES, make_cfg
from tests.support.plots import assert_legible, texts

STATIC = ("MODEL.PROMPT.NAME", "coop", "MODEL.ALIGNMENT.MULTI_SCALE", False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A folder data set of three pictures, two classes and some ignored pixels in each."""
    folder = tmp_path_factory.mktemp("mine")
    random = np.random.default_rng(0)
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")
    for kind in ("images", "labels"):
        (folder / kind / "val").mkdir(parents=True)
    for index in range(3):
        label = np.full((50, 70), index, np.uint8)
        label[:, 30:], label[:2] = 4, 255
        Image.fromarray(label).save(folder / "labels" / "val" / f"{index}.png")
        Image.fromarray(random.integers(0, 255, (50, 70, 3), np.uint8)).save(folder / "images" / "val" / f"{index}.png")
    name = f"folder:{folder}/val"
    yield name
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture(scope="module")
def models(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Output folders of two models, as training leaves them."""
    found = {}
    for name, options in (("icpc", ()), ("coop", STATIC)):
        cfg = make_cfg("quickstart/icpc_tiny.yaml", "INPUT.MIN_SIZE_TEST", 64, "DATALOADER.NUM_WORKERS", 0, *options)
        cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (dataset,)
        found[name] = str(write_checkpoint(tmp_path_factory.mktemp(name), cfg).parent)
    return found


def draw(figure: str, out: Path, *arguments: str) -> None:
    assert main([figure, *arguments, "--out", str(out)]) == 0
    assert out.stat().st_size > 1000


def test_overlay(models: dict[str, str], tmp_path: Path, drawn: list[Figure]) -> None:
    draw("overlay", tmp_path / "overlay.png", models["icpc"], "--num-images", "2")
    assert len(drawn[0].axes) == 6
    assert {"traffic light", "person"} & set(texts(drawn[0]))
    trained = load_trained(models["icpc"])
    sample = dataset_samples(trained, None, 2)[0]
    np.testing.assert_array_equal(drawn[0].axes[0].images[0].get_array(), sample.image)


def test_overlay_of_own_pictures_has_no_labels(models: dict[str, str], tmp_path: Path, drawn: list[Figure]) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "own.jpg")
    draw("overlay", tmp_path / "overlay.pdf", models["icpc"], "--images", str(tmp_path / "own.jpg"))
    assert len(drawn[0].axes) == 2


def test_regions_of_two_models(models: dict[str, str], tmp_path: Path, drawn: list[Figure]) -> None:
    arguments = [f"ICPC={models['icpc']}", f"DenseCLIP={models['coop']}", "--num-images", "1"]
    draw("regions", tmp_path / "regions.png", *arguments, "--classes", "tree,person")
    assert {"ICPC", "DenseCLIP", "tree", "person", "image"} <= set(texts(drawn[0]))
    trained = load_trained(models["coop"])
    (sample,) = dataset_samples(trained, None, 1)
    (maps,) = score_maps(trained.model, [trained.inputs(sample)], "res5")
    second_row = [axes.images[0].get_array() for axes in drawn[0].axes[4:6]]
    np.testing.assert_allclose(second_row, maps[[1, 4]])


def test_tsne_of_static_and_conditioned_text(models: dict[str, str], tmp_path: Path, drawn: list[Figure]) -> None:
    draw("tsne", tmp_path / "tsne.svg", models["coop"], models["icpc"], "--points", "10")
    static, conditioned = (
        [len(group.get_offsets()) for group in panel.collections if len(group.get_offsets())] for panel in drawn[0].axes
    )
    assert static == [10, 1, 1, 1, 1], "10 positions, four classes that are in the labels"
    assert conditioned == [10, 3, 3, 3, 3], "of each picture an embedding of its own"
    assert "prompt: icpc" in drawn[0].axes[1].get_title()


def test_confusion(models: dict[str, str], tmp_path: Path, drawn: list[Figure]) -> None:
    draw("confusion", tmp_path / "confusion.png", models["icpc"])
    shares = drawn[0].axes[0].images[0].get_array()
    np.testing.assert_allclose(shares.sum(axis=1), [100, 100, 100, 0, 100, 0])
    assert_legible(drawn[0])


def test_prompts(models: dict[str, str], tmp_path: Path, drawn: list[Figure]) -> None:
    draw("prompts", tmp_path / "prompts.pdf", models["icpc"], "--num-words", "3")
    assert len(drawn[0].axes[0].texts) == 8 * 3


def test_scenes(tmp_path: Path, drawn: list[Figure]) -> None:
    draw("scenes", tmp_path / "scenes.png", "--num-images", "2", "--seed", "5")
    (figure,) = drawn
    assert_legible(figure)
    panels = figure.get_axes()
    assert [panel.get_title() for panel in panels] == [*STYLES, *[""] * len(STYLES)]
    for panel, (index, style) in zip(panels, product(range(2), STYLES), strict=True):
        scene = draw_captioned_scene((5, index), style)
        np.testing.assert_array_equal(panel.get_images()[-1].get_array(), scene.image)
        assert panel.get_xlabel().replace("\n", " ") == scene.captions[0]


def test_no_scenes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenes", "--num-images", "0", "--out", str(tmp_path / "out.png")]) == 1
    assert "found --num-images 0 --seed 0, wanted at least 1" in capsys.readouterr().err


def test_curves_of_a_folder_of_runs(tmp_path: Path, drawn: list[Figure]) -> None:
    for seed in (0, 1):
        (tmp_path / "ours" / f"seed_{seed}").mkdir(parents=True)
        line = f'{{"iteration": 10, "sem_seg/mIoU": {seed}}}\n'
        (tmp_path / "ours" / f"seed_{seed}" / "metrics.json").write_text(line)
    draw("curves", tmp_path / "curves.svg", str(tmp_path / "ours"), f"again={tmp_path / 'ours' / 'seed_1'}")
    assert {"ours (2 runs)", "again"} <= set(texts(drawn[0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["regions", "{icpc}", "--classes", "unicorn"], "--classes has ['unicorn']; the model knows sky, tree"),
        (["regions", "{coop}", "--level", "res2"], "no score map at 'res2'; wanted is one of ['res5']"),
        (["regions", "{icpc}", "--images", "{picture}"], "images without labels do not tell which classes matter"),
        (["overlay", "{icpc}", "--dataset", "scenes_sem_seg_val"], "has 10 classes but"),
        (["overlay", "{icpc}", "--dataset", "nothing"], "no data set 'nothing'"),
        (["overlay", "nowhere"], "nowhere"),
        (["curves", "{icpc}"], "no metrics.json"),
    ],
)
def test_what_cannot_be_drawn_is_told(
    models: dict[str, str], arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "own.png"
    Image.new("RGB", (40, 30)).save(picture)
    words = [word.format(**models, picture=picture) for word in arguments]
    assert main([*words, "--out", str(tmp_path / "out.png")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


def test_unknown_kinds_of_files_are_refused_before_anything_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["overlay", "nowhere", "--out", "figure.bmp"])
    assert "wanted one of .png, .svg, .pdf" in capsys.readouterr().err


def test_titles(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    assert split_title("ours=some/where") == ("ours", Path("some/where"))
    assert split_title(str(tmp_path / "a=b")) == ("a=b", tmp_path / "a=b")
    assert split_title("some/run/model_best.pth") == ("run", Path("some/run/model_best.pth"))


def test_score_maps_are_those_of_the_model(models: dict[str, str]) -> None:
    model = load_trained(models["icpc"]).model
    image = {"image": torch.randint(256, (3, 64, 96), dtype=torch.uint8)}
    with torch.no_grad():
        _, scores = model.encode(model.preprocess_image([image]).tensor)
        for level in ("res2", "res3", "res4", "res5"):
            expected = F.interpolate(scores[level], size=(64, 96), mode="bilinear")[0]
            torch.testing.assert_close(score_maps(model, [image], level)[0], expected)
    assert score_maps(model, [{**image, "height": 32, "width": 50}], "res4")[0].shape == (len(NAMES), 32, 50)


def test_embeddings_give_the_coarsest_score_map_without_padding(models: dict[str, str]) -> None:
    model = load_trained(models["icpc"]).model
    images = [{"image": torch.randint(256, (3, *size), dtype=torch.uint8)} for size in ((64, 96), (32, 70))]
    found = embeddings(model, images)
    assert [e.dense.shape[1:] for e in found] == [(2, 3), (1, 3)]
    with torch.no_grad():
        expected = model.encode(model.preprocess_image(images).tensor)[1]["res5"]
    for index, e in enumerate(found):
        cosines = torch.einsum("kc,chw->khw", F.normalize(e.refined, dim=1), F.normalize(e.dense, dim=0))
        height, width = cosines.shape[1:]
        torch.testing.assert_close(cosines, expected[index, :, :height, :width], atol=1e-5, rtol=1e-5)
    assert not torch.equal(found[0].prompted, found[1].prompted)


def test_nearest_words_finds_a_word_that_was_planted(models: dict[str, str]) -> None:
    model = load_trained(models["coop"]).model
    tokenizer = SimpleTokenizer()
    with torch.no_grad():
        for row, word in enumerate(("photo", "street")):
            (token,) = tokenizer.encode(word)
            model.prompt.vectors[row] = 3 * model.text_encoder.token_embedding.weight[token]
    words = nearest_words(model, 4)
    assert len(words) == 8 and all(len(row) == 4 for row in words)
    assert [row[0][0] for row in words[:2]] == ["photo", "street"]
    assert words[0][0][1] == pytest.approx(1.0, abs=1e-5)
    assert all(a[1] >= b[1] for row in words for a, b in pairwise(row))
    assert all(word.isascii() and word.isalpha() and len(word) > 1 for row in words for word, _ in row)


def test_a_prompt_without_vectors_has_no_words() -> None:
    with pytest.raises(ValueError, match="InstancePrompt, which learns no context vectors"):
        nearest_words(build_model(make_cfg("quickstart/icpc_tiny.yaml", "MODEL.PROMPT.NAME", "instance")), 3)
