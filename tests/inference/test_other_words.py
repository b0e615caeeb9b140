"""Predictor with other class names than those that a model was trained for."""

import gc
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from icpc_d2.analysis.macs import count_macs
from icpc_d2.inference.predictor import VOCABULARIES, Predictor
from icpc_d2.modeling.alignment import cosine_scores
from icpc_d2.modeling.text.class_tokens import ClassTokens
from icpc_d2.modeling.text.text_encoder import TextEncoder
from tests.support.blocks import make_image
from tests.support.checkpoints import CLASSES

WORDS = ["a red car", "grass", "sky"]


@pytest.mark.parametrize(
    ("prompt", "scales", "level"), [("icpc", [], "res5"), ("template", ["res4"], "res4"), ("icpc", ["res2"], "res4")]
)
def test_other_words_by_the_plain_way(load: Callable, prompt: str, scales: list[str], level: str) -> None:
    predictor = load("MODEL.PROMPT.NAME", prompt, "MODEL.ALIGNMENT.LOSS_SCALES", scales)
    found = predictor(make_image(64, 96), classes=WORDS)

    model = predictor._model
    with torch.no_grad():
        image = torch.from_numpy(make_image(64, 96).transpose(2, 0, 1).copy())
        features = model.backbone((image - model.pixel_mean)[None] / model.pixel_std)
        embed = features["dense_embed"]
        tokens = model.class_tokens.renamed(WORDS)
        text = TextEncoder.forward(model.text_encoder, tokens, model.prompt(features["global_embed"]))
        text = model.context_decoder(text, features["global_embed"], embed)
        scores = cosine_scores(embed if level == "res5" else model.alignment.up_embed(embed), text)
        logits = F.interpolate(scores / 0.07, size=(64, 96), mode="bilinear", align_corners=False)[0]

    assert (found.predict_from, found.classes) == ("alignment", WORDS)
    wanted = logits.softmax(dim=0).numpy()
    for index, name in enumerate(WORDS):
        np.testing.assert_allclose(found.regions(name), wanted[index], atol=1e-5)
    np.testing.assert_array_equal(found.labels, np.stack([found.probability(name) for name in WORDS]).argmax(axis=0))


def test_several_names_of_a_class_are_one_class(load: Callable, predictor: Predictor) -> None:
    synonyms = [["heaven"], [], [], ["automobile", "van"]]
    trained = load("MODEL.CLASS_SYNONYMS", synonyms)
    assert trained.classes == CLASSES
    own = trained(make_image(), predict_from="alignment")
    names = [[name, *more] for name, more in zip(CLASSES, synonyms, strict=True)]
    ways = [names, [", ".join(parts) for parts in names], "; ".join(", ".join(parts) for parts in names)]
    for words in (trained(make_image(), classes=way) for way in ways):
        assert words.classes == CLASSES
        np.testing.assert_array_equal(words.regions("car"), own.regions("car"))
    one_name = trained(make_image(), classes=CLASSES)
    assert np.abs(one_name.regions("car") - own.regions("car")).max() > 1e-4


def test_its_own_words_are_its_own_alignment(predictor: Predictor) -> None:
    words, own = predictor(make_image(), classes=", ".join(CLASSES)), predictor(make_image(), predict_from="alignment")
    np.testing.assert_array_equal(words.labels, own.labels)
    decoded = predictor.predict(make_image())
    assert decoded.predict_from == "decoder"
    for name in CLASSES:
        np.testing.assert_array_equal(words.regions(name), own.regions(name))
        np.testing.assert_array_equal(decoded.regions(name), own.probability(name))
    np.testing.assert_allclose(sum(decoded.regions(name) for name in CLASSES), 1, atol=1e-5)


def test_text_is_encoded_once_for_each_vocabulary(load: Callable) -> None:
    predictor = load("MODEL.PROMPT.NAME", "coop")

    def cost(classes: list[str] | None) -> int:
        return count_macs(lambda: predictor([make_image(), make_image(50, 50)], classes=classes)).total()

    vocabularies = (WORDS, ["water", "sand"], None)
    first, second, third = ([cost(classes) for classes in vocabularies] for _ in range(3))
    assert second == third
    assert all(with_text > without for with_text, without in zip(first, second, strict=True))


def test_vocabularies_are_kept_but_not_without_end(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    made, renamed = [], ClassTokens.renamed

    def note(tokens: ClassTokens, names: Sequence[str]) -> ClassTokens:
        made.append(weakref.ref(found := renamed(tokens, names)))
        return found

    monkeypatch.setattr(ClassTokens, "renamed", note)
    for number in [*range(VOCABULARIES + 3), VOCABULARIES + 2]:
        predictor(make_image(32, 32), classes=["water", f"sand {number}"])
    assert len(made) == VOCABULARIES + 3
    gc.collect()
    assert sum(tokens() is not None for tokens in made) == VOCABULARIES


def test_questions_that_have_no_answer(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="bound to the classes that it was trained for"):
        predictor(make_image(), classes=WORDS, predict_from="decoder")
    with pytest.raises(ValueError, match="wanted is 'decoder' or 'alignment'"):
        predictor(make_image(), predict_from="text")
    with pytest.raises(ValueError, match="read alike"):
        predictor(make_image(), classes=["sky", "Sky"])
    with pytest.raises(ValueError, match=r"no class 'skyy'.*\['sky'\]"):
        predictor(make_image()).probability("skyy")


def test_words_at_several_sizes_are_averaged_like_the_model_s_own_classes(checkpoint: Path) -> None:
    predictor = Predictor(checkpoint, "cpu", tta=True)
    words, own = predictor(make_image(), classes=CLASSES), predictor(make_image(), predict_from="alignment")
    np.testing.assert_array_equal(words.labels, own.labels)
    decoded = predictor(make_image())
    for name in CLASSES:
        np.testing.assert_array_equal(words.probability(name), own.probability(name))
        np.testing.assert_array_equal(decoded.regions(name), own.probability(name))
    np.testing.assert_allclose(sum(own.regions(name) for name in CLASSES), 1, atol=1e-5)
