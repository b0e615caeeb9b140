"""Several names of a class: the average of their text embeddings, in both forms, from config or metadata."""

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from torch.nn import functional as F

from icpc_d2.config import load_config
from icpc_d2.modeling import clip
from icpc_d2.modeling.class_names import get_synonyms, resolve_class_names
from icpc_d2.modeling.fast.packed_text_encoder import PackedTextEncoder
from icpc_d2.modeling.fast.packed_tokens import PackedClassTokens
from icpc_d2.modeling.text.class_tokens import ClassTokens
from icpc_d2.modeling.text.prompts import PROMPTS, Context
from icpc_d2.modeling.text.text_encoder import TextEncoder
from tests.support.models import NAMES, make_cfg

CLASSES = ["sky", ("boat", "ship", "sailing vessel"), ("car", "automobile"), "chest of drawers"]


def test_the_direction_is_that_of_clips_ensembles() -> None:
    reference = open_clip.model.CLIP(**clip.get_architecture("tiny-RN")).eval()
    encoder = TextEncoder("tiny-RN")
    own = encoder.state_dict()
    encoder.load_state_dict({name: value for name, value in reference.state_dict().items() if name in own})
    with torch.no_grad():
        found = encoder(ClassTokens(CLASSES, "a photo of a {}.", 77), Context())[0]
        for embedding, names in zip(found, CLASSES, strict=True):
            names = [names] if isinstance(names, str) else names
            texts = reference.encode_text(open_clip.tokenize([f"a photo of a {name}." for name in names]))
            ensemble = F.normalize(F.normalize(texts, dim=1).mean(dim=0), dim=0)
            torch.testing.assert_close(F.normalize(embedding, dim=0), ensemble, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(embedding.norm(), texts.norm(dim=1).mean(), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("prompt_name", sorted(PROMPTS))
def test_both_forms_agree_and_other_classes_stay_as_they_are(prompt_name: str) -> None:
    encoder = PackedTextEncoder("tiny-RN")
    prompt = PROMPTS[prompt_name](4, 128, encoder.width, 16)
    tokens, alone = (PackedClassTokens(names, "{}", 77, prompt.num_context) for names in (CLASSES, ["sky", "car"]))
    global_embed = torch.randn(3, 128)
    found, wanted = (form.forward(encoder, tokens, prompt(global_embed)) for form in (PackedTextEncoder, TextEncoder))
    assert found.shape == (1 if prompt_name in ("template", "coop") else 3, 4, encoder.channels)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    single = encoder(alone, prompt(global_embed))
    torch.testing.assert_close(found[:, 0], single[:, 0], atol=1e-5, rtol=1e-4)
    assert (found[:, 2] - single[:, 1]).abs().max() > 1e-3
    if parameters := list(prompt.parameters()):
        weights = torch.randn_like(wanted)
        gradients = (torch.autograd.grad((text * weights).sum(), parameters) for text in (found, wanted))
        for ours, naive in zip(*gradients, strict=True):
            assert naive.abs().max() > 0
            torch.testing.assert_close(ours, naive, atol=1e-4 * naive.abs().max().item(), rtol=1e-3)


def test_a_model_s_state_dict_is_the_same_with_them() -> None:
    synonyms = [["heaven"], [], [], [], ["man", "woman"], []]
    without = build_model(make_cfg())
    named = build_model(make_cfg("quickstart/icpc_tiny.yaml", "MODEL.CLASS_SYNONYMS", synonyms))
    named.load_state_dict(without.state_dict())  # strict
    assert named.class_tokens.names == NAMES
    assert named.class_tokens.synonyms[4] == ("person", "man", "woman")


@pytest.fixture
def data_set() -> Any:
    MetadataCatalog.get("boats").set(stuff_classes=["sky", "boat"], prompt_synonyms=[[], ["ship"]])
    yield "boats"
    MetadataCatalog.remove("boats")


def test_they_come_from_the_metadata_or_the_config(data_set: str) -> None:
    cfg = make_cfg()
    cfg.MODEL.CLASS_NAMES, cfg.DATASETS.TRAIN = [], (data_set,)
    assert get_synonyms(cfg) == [("sky",), ("boat", "ship")]
    resolve_class_names(cfg)
    assert (cfg.MODEL.CLASS_NAMES, cfg.MODEL.CLASS_SYNONYMS) == (["sky", "boat"], [[], ["ship"]])
    assert get_synonyms(cfg) == [("sky",), ("boat", "ship")]

    cfg.MODEL.CLASS_SYNONYMS = []  # names of its own have none but its own
    assert get_synonyms(cfg) == [("sky",), ("boat",)]
    cfg.MODEL.CLASS_NAMES, cfg.MODEL.CLASS_SYNONYMS = [], [["heaven"], []]
    assert get_synonyms(cfg) == [("sky", "heaven"), ("boat",)]


@pytest.mark.parametrize("wrong", [["ship", "car"], [["ship"]], [[], [1]]])
def test_a_list_that_does_not_fit_is_refused(data_set: str, wrong: list) -> None:
    cfg = make_cfg()
    cfg.MODEL.CLASS_NAMES, cfg.MODEL.CLASS_SYNONYMS = ["sky", "boat"], wrong
    with pytest.raises(ValueError, match=r"MODEL\.CLASS_SYNONYMS is .* each of the 2 classes"):
        get_synonyms(cfg)


def test_a_name_of_two_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="'ship' and 'Ship' read alike"):
        ClassTokens([("boat", "ship"), ("vessel", "Ship")], "{}", 77)


@pytest.mark.parametrize("names", ["[on, sky]", "[5, sky]", "[[boat, ship], sky]"])
def test_names_that_are_no_texts_are_refused(names: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"MODEL: {{CLASS_NAMES: {names}}}\n")
    with pytest.raises(
        ValueError, match=r"MODEL\.CLASS_NAMES has .* among its class names; wanted are texts\. In YAML"
    ):
        get_synonyms(load_config(str(tmp_path / "mine.yaml")))
