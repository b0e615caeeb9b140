"""CLIPs that are small enough to come with the package: what is packed is what is loaded, also by an address."""

from pathlib import Path

import open_clip
import pytest
import torch
from detectron2.modeling import build_model
from safetensors.torch import load_file, save_file
from torch import Tensor

from icpc_d2.checkpoint import ICPCCheckpointer, sources
from icpc_d2.checkpoint.clip_weights import UnreadableWeightsError, read_weights
from icpc_d2.checkpoint.packed_clip import EMBEDDING, write_packed
from icpc_d2.engine.initial_weights import _check_architecture
from icpc_d2.modeling import clip
from tests.support.models import make_cfg

TOKENS = [320, 736, 49406, 49407]


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return open_clip.model.CLIP(**clip.get_architecture("tiny-RN")).state_dict()


@pytest.fixture(scope="module")
def packed(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shipped") / "tiny-RN.safetensors"
    write_packed(path, weights, TOKENS, quick_gelu=True)
    return path


def test_what_is_packed_is_read_again(weights: dict[str, Tensor], packed: Path) -> None:
    content = read_weights(str(packed))
    assert content["quick_gelu"] is True
    found = content["model"]
    assert found.keys() == {name for name in weights if not name.endswith("num_batches_tracked")}
    for name in found.keys() - {EMBEDDING}:
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], weights[name], atol=1e-6, rtol=1e-3)
    torch.testing.assert_close(found[EMBEDDING][TOKENS], weights[EMBEDDING][TOKENS], atol=1e-6, rtol=1e-3)
    statistics = "visual.bn1.running_var"
    assert torch.equal(found[statistics], weights[statistics]), "statistics keep their precision"


def test_other_tokens_are_drawn_and_always_the_same(packed: Path) -> None:
    first, second = (read_weights(str(packed))["model"][EMBEDDING] for _ in range(2))
    assert torch.equal(first, second)
    others = torch.ones(len(first), dtype=torch.bool).index_fill(0, torch.tensor(TOKENS), False)
    assert first[others].std().item() == pytest.approx(0.02, rel=0.01)


def test_it_is_small_and_everybody_may_read_it(packed: Path) -> None:
    assert packed.stat().st_size < 4e6 and packed.stat().st_mode & 0o777 == 0o644


def test_tokens_beyond_the_vocabulary_are_refused(weights: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vocabulary of 49408"):
        write_packed(tmp_path / "a.safetensors", weights, [49408], quick_gelu=True)
    assert not list(tmp_path.iterdir())


def test_an_address_names_what_comes_with_the_package(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SHIPPED", packed.parent)
    model = build_model(make_cfg())
    ICPCCheckpointer(model).load("clip://tiny-RN", checkpointables=[])
    wanted = read_weights(str(packed))["model"]
    state = model.state_dict()
    assert torch.equal(state["backbone.visual.conv1.weight"], wanted["visual.conv1.weight"])
    assert torch.equal(state["text_encoder.token_embedding.weight"], wanted[EMBEDDING])
    assert sources.parse_clip("clip://tiny-RN").architecture == make_cfg().MODEL.CLIP.ARCH
    _check_architecture("MODEL.WEIGHTS", "clip://tiny-RN", "tiny-RN")
    with pytest.raises(ValueError, match=r"is for MODEL.CLIP.ARCH tiny-RN, but that is tiny-ViT"):
        _check_architecture("MODEL.WEIGHTS", "clip://tiny-RN", "tiny-ViT")
    with pytest.raises(ValueError, match=r"With this package come clip://tiny-RN"):
        sources.parse_clip("clip://tiny-NR")
    with pytest.raises(ValueError, match="unknown"):
        sources.parse_clip("clip://tiny-RN/openai")


def test_a_packed_file_without_its_vocabulary_is_refused(packed: Path, tmp_path: Path) -> None:
    path = tmp_path / "b.safetensors"
    save_file(load_file(packed), path)
    with pytest.raises(UnreadableWeightsError, match="of some tokens, but not of how many"):
        read_weights(str(path))
