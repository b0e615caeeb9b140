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
from icpc_d2.modeling.contrastive_clip import make_mosaics
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


def with_close_ups(batch: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    texts = [f"{number} {('red', 'blue')[number % 2]} cars" for number in range(count)]
    close_ups = torch.randint(256, (count, 3, 64, 64), dtype=torch.uint8)
    return {**batch, "close_ups": close_ups, "close_up_tokens": open_clip.SimpleTokenizer()(texts)[:, :8]}


def without_close_ups(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in batch.items() if not name.startswith("close_up")}


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


def test_mosaics_have_two_pictures_a_side_in_order() -> None:
    numbered = torch.arange(8).view(8, 1, 1, 1) * 100 + torch.arange(6).view(1, 1, 2, 3)
    mosaics = make_mosaics(numbered.expand(8, 3, 2, 3))
    assert mosaics.shape == (2, 3, 4, 6)
    assert mosaics[1, 2].tolist() == [
        [400, 401, 402, 500, 501, 502],
        [403, 404, 405, 503, 504, 505],
        [600, 601, 602, 700, 701, 702],
        [603, 604, 605, 703, 704, 705],
    ]


@pytest.mark.parametrize(("architecture", "side"), [("tiny-RN", 2), ("tiny-ViT", 4)])
def test_a_close_up_is_embedded_where_it_is_in_its_mosaic(architecture: str, side: int) -> None:
    """By hand: the last of eight is the second mosaic's lower right one, `side` positions high and wide."""
    model, batch = make_model(architecture).eval(), with_close_ups(make_captioned(), 8)
    with torch.no_grad():
        close_ups, tokens = batch["close_ups"], batch["close_up_tokens"]
        top, bottom = torch.cat(list(close_ups[4:6]), dim=2), torch.cat(list(close_ups[6:]), dim=2)
        _, dense = model.embed_images(torch.cat([top, bottom], dim=1)[None])
        wanted = F.normalize(dense[0, :, side:, side:].mean(dim=(1, 2)), dim=0)
        found = model.embed_close_ups(close_ups)
        assert found.shape == (8, model.text_projection.shape[1])
        torch.testing.assert_close(found[7], wanted, atol=1e-5, rtol=1e-4)
        upper_right = F.normalize(dense[0, :, :side, side:].mean(dim=(1, 2)), dim=0)
        torch.testing.assert_close(found[5], upper_right, atol=1e-5, rtol=1e-4)
        losses = model([batch])
        loss = ClipLoss()(found, model.embed_texts(tokens), model.logit_scale.exp())
        torch.testing.assert_close(losses["loss_mosaic"], loss)
        torch.testing.assert_close(losses["loss_clip"], model([without_close_ups(batch)])["loss_clip"])


def test_mosaics_tell_dense_embeddings_where_things_are() -> None:
    """Four colours, trained in mosaics alone: each quarter of a new one is told by its colour's word."""
    torch.manual_seed(0)
    model, names = make_model("tiny-ViT"), ["red", "blue", "green", "white"]
    colors = torch.tensor([[200, 30, 30], [30, 30, 200], [30, 150, 30], [230, 230, 230]], dtype=torch.uint8)
    tokens = open_clip.SimpleTokenizer()(names)[:, :4]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(40):
        order = torch.randperm(4)
        pictures = colors[order].view(4, 3, 1, 1).expand(4, 3, 64, 64)
        loss = model._contrast(model.embed_close_ups(pictures), tokens[order])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        order = torch.tensor([2, 0, 3, 1])
        _, dense = model.eval().embed_images(make_mosaics(colors[order].view(4, 3, 1, 1).expand(4, 3, 64, 64)))
        answer = torch.einsum("bchw,kc->bkhw", dense, model.embed_texts(tokens)).argmax(dim=1)[0]
    wanted = order.view(2, 2).repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert (answer == wanted).float().mean() > 0.9


def test_it_says_which_activation_it_has() -> None:
    assert uses_quick_gelu(make_model("tiny-RN")) is True


def test_the_temperature_stays_above_a_hundredth() -> None:
    model = make_model("tiny-ViT")
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    model([make_captioned()])
    assert math.exp(model.logit_scale.item()) == pytest.approx(100)


def test_the_negatives_of_two_processes_are_those_of_one(tmp_path: Path) -> None:
    model, batch = make_model("tiny-ViT"), with_close_ups(make_captioned(), 8)
    sum(model([batch]).values()).backward()
    wanted = {name: parameter.grad for name, parameter in model.named_parameters()}

    def run(rank: int) -> None:
        distributed.init_process_group("gloo", f"file://{tmp_path}/meet", world_size=2, rank=rank)
        model.zero_grad()
        half = {name: value.chunk(2)[rank] for name, value in batch.items()}
        loss = sum(model([half]).values())
        loss.backward()
        for parameter in model.parameters():  # what DistributedDataParallel does
            distributed.all_reduce(parameter.grad)
            parameter.grad /= 2
        torch.save((loss.detach(), {n: p.grad for n, p in model.named_parameters()}), tmp_path / f"{rank}.pth")

    processes = [fork(lambda rank=rank: run(rank), tmp_path / "log.txt") for rank in range(2)]
    assert [wait(process) for process in processes] == [0, 0], (tmp_path / "log.txt").read_text()
    for rank in range(2):
        loss, gradients = torch.load(tmp_path / f"{rank}.pth")
        torch.testing.assert_close(loss, sum(model([batch]).values()).detach())
        torch.testing.assert_close(gradients, wanted, atol=1e-6, rtol=1e-3)
