"""CLIP's own training: the towers and the loss are open_clip's, and several processes are as one."""

import math
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.loss import ClipLoss
from torch import Tensor, distributed
from torch.nn import functional as F

from icpc_d2.checkpoint.key_maps import uses_quick_gelu
from icpc_d2.modeling import ContrastiveCLIP, clip
from icpc_d2.modeling.backbone import ClipResNet, ClipViT
from tests.support.programs import fork, wait

OUTPUTS = ["global_embed", "dense_embed"]
MEAN, STD = [122.0, 116.0, 104.0], [68.0, 66.0, 70.0]
TEXTS = ["two red cars on a road", "a boat", "snow on a mountain behind a lake", "night"]


def make_model(architecture: str) -> ContrastiveCLIP:
    encoder = (
        ClipResNet(architecture, OUTPUTS)
        if architecture == "tiny-RN"
        else ClipViT(architecture, OUTPUTS, [], drop_path=0.0, norm="BN")
    )
    return ContrastiveCLIP(encoder=encoder, architecture=architecture, temperature=0.07, pixel_mean=MEAN, pixel_std=STD)


def make_captioned() -> dict[str, Tensor]:
    images = torch.randint(256, (len(TEXTS), 3, 128, 128), dtype=torch.uint8)
    return {"images": images, "tokens": open_clip.SimpleTokenizer()(TEXTS)[:, :12]}


@pytest.mark.parametrize("architecture", ["tiny-RN", "tiny-ViT"])
def test_towers_and_loss_are_those_of_open_clip(architecture: str) -> None:
    model, batch = make_model(architecture), make_captioned()
    theirs = open_clip.model.CLIP(**clip.get_architecture(architecture))
    missing = theirs.load_state_dict(model.state_dict(), strict=False)
    assert not missing.missing_keys and not missing.unexpected_keys, "open_clip's own names"
    images = (batch["images"] - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        wanted = theirs.eval().encode_image(images, normalize=True)
        torch.testing.assert_close(model.eval().embed_images(batch["images"])[0], wanted, atol=1e-5, rtol=1e-4)
        tokens = F.pad(batch["tokens"], (0, 77 - 12))  # as open_clip's text encoder wants them
        texts = theirs.encode_text(tokens, normalize=True)
        torch.testing.assert_close(model.embed_texts(batch["tokens"]), texts, atol=1e-5, rtol=1e-4)
        loss = ClipLoss()(wanted, texts, torch.tensor(1 / 0.07))
        torch.testing.assert_close(model([batch])["loss_clip"], loss, atol=1e-4, rtol=1e-4)


def test_dense_embeddings_are_those_of_the_image_encoder_at_any_size() -> None:
    model = make_model("tiny-RN").eval()
    images = torch.randint(256, (1, 3, 96, 160), dtype=torch.uint8)
    with torch.no_grad():
        _, dense = model.embed_images(images)
    assert dense.shape == (1, 128, 3, 5)
    torch.testing.assert_close(dense.norm(dim=1), torch.ones(1, 3, 5))


def test_it_says_which_activation_it_has() -> None:
    assert uses_quick_gelu(make_model("tiny-RN")) is True


def test_the_temperature_stays_above_a_hundredth() -> None:
    model = make_model("tiny-ViT")
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    model([make_captioned()])
    assert math.exp(model.logit_scale.item()) == pytest.approx(100)


def test_the_negatives_of_two_processes_are_those_of_one(tmp_path: Path) -> None:
    model, batch = make_model("tiny-ViT"), make_captioned()
    model([batch])["loss_clip"].backward()
    wanted = {name: parameter.grad for name, parameter in model.named_parameters()}

    def run(rank: int) -> None:
        distributed.init_process_group("gloo", f"file://{tmp_path}/meet", world_size=2, rank=rank)
        model.zero_grad()
        half = {name: value[2 * rank : 2 * rank + 2] for name, value in batch.items()}
        loss = model([half])["loss_clip"]
        loss.backward()
        for parameter in model.parameters():  # what DistributedDataParallel does
            distributed.all_reduce(parameter.grad)
            parameter.grad /= 2
        torch.save((loss.detach(), {n: p.grad for n, p in model.named_parameters()}), tmp_path / f"{rank}.pth")

    processes = [fork(lambda rank=rank: run(rank), tmp_path / "log.txt") for rank in range(2)]
    assert [wait(process) for process in processes] == [0, 0], (tmp_path / "log.txt").read_text()
    for rank in range(2):
        loss, gradients = torch.load(tmp_path / f"{rank}.pth")
        torch.testing.assert_close(loss, model([batch])["loss_clip"].detach())
        torch.testing.assert_close(gradients, wanted, atol=1e-6, rtol=1e-3)
