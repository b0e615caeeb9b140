from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def test_images_of_the_same_samples_at_each_evaluation(board: EventAccumulator) -> None:
    tags = board.Tags()["images"]
    assert sorted(tags) == [f"validation/{index}" for index in range(3)]
    for tag in tags:
        first, last = board.Images(tag)
        assert first.step < last.step
        assert (first.width, first.height) == (last.width, last.height)
        assert first.width > 4 * 400
    sizes = {board.Images(tag)[0].encoded_image_string for tag in tags}
    assert len(sizes) == 3
