"""Pictures with captions: which crop a draw takes, how many sentences, and what of them fits."""

import numpy as np
import pytest
import torch
from open_clip import SimpleTokenizer

from icpc_d2.data.captioned_pictures import CONTEXT_LENGTH, CaptionedPictures, caption_tokens, stack_pictures
from icpc_d2.data.scenes.archive import SceneRecord
from icpc_d2.data.scenes.close_ups import CloseUp

CAPTIONS = ["a car", "a boat", "a dog"]
tokenizer = SimpleTokenizer()


def make_scenes() -> list[SceneRecord]:
    """One scene, whose pixels say their row and column."""
    rows, columns = np.indices((100, 200), dtype=np.uint8)
    return [SceneRecord(np.stack([rows, columns, rows], axis=2), rows, CAPTIONS, [])]


def test_each_draw_takes_a_crop_of_its_own() -> None:
    pictures = CaptionedPictures(make_scenes(), (32, 64), 0.5, 3, seed=0)
    draws = [pictures[0, number]["image"] for number in range(20)]
    assert torch.equal(draws[3], pictures[0, 3]["image"])
    assert len({draw.numpy().tobytes() for draw in draws}) == 20
    for draw in draws:
        assert draw.shape == (3, 32, 64)
        height, width = (int(draw[channel].max()) - int(draw[channel].min()) for channel in (0, 1))
        assert 0.5 * 100 - 6 <= height <= 100 and width == pytest.approx(2 * height, abs=8)


def test_a_whole_picture_stays_as_it_is() -> None:
    scenes = make_scenes()
    image = CaptionedPictures(scenes, (100, 200), 1.0, 1, seed=0)[0, 0]["image"]
    np.testing.assert_array_equal(image.permute(1, 2, 0), scenes[0].image)


@pytest.mark.parametrize("most", [1, 2])
def test_sentences_are_one_to_the_most(most: int) -> None:
    pictures = CaptionedPictures(make_scenes(), (32, 64), 1.0, most, seed=0)
    texts = [tokenizer.decode(pictures[0, number]["tokens"].tolist()) for number in range(30)]
    assert {text.count(".") + 1 for text in texts} == set(range(1, most + 1))
    assert all(any(caption in text for text in texts) for caption in CAPTIONS)


def test_captions_join_as_far_as_they_fit() -> None:
    assert caption_tokens("a car", "a boat").tolist() == [49406, *tokenizer.encode("a car. a boat"), 49407]
    long = " ".join(["car"] * 70)
    assert len(caption_tokens(long, "a boat", "a red car on a road")) <= CONTEXT_LENGTH
    assert caption_tokens(long, "a red car on a blue road").tolist() == caption_tokens(long).tolist()
    with pytest.raises(ValueError, match="takes 77"):
        caption_tokens(" ".join(["car"] * 76))


def test_close_ups_come_with_their_own_captions_and_apart_from_each_other() -> None:
    """Neighbours in a batch, which make a mosaic, are of different drawings."""
    rows = np.zeros((32, 64), np.uint8)
    scenes = [
        SceneRecord(
            np.dstack([rows] * 3),
            rows,
            CAPTIONS,
            [],
            [CloseUp(np.full((64, 64, 3), 10 * scene + one), said) for one, said in enumerate((["a dog"], ["a bus"]))],
        )
        for scene in range(3)
    ]
    pictures = CaptionedPictures(scenes, (32, 64), 1.0, 1, seed=0)
    (batch,) = stack_pictures([pictures[index, index] for index in range(3)])
    assert batch["close_ups"].shape == (6, 3, 64, 64)
    assert batch["close_ups"][:, 0, 0, 0].tolist() == [0, 10, 20, 1, 11, 21]
    said = [tokenizer.decode(tokens[1:-1]).strip() for tokens in batch["close_up_tokens"].tolist()]
    assert said == ["a dog"] * 3 + ["a bus"] * 3
    assert "close_ups" not in stack_pictures([CaptionedPictures(make_scenes(), (32, 64), 1.0, 1, 0)[0, 0]])[0]
