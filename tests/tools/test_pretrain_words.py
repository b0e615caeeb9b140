"""What a segmentation model's words mean: figures of one that knows, of one that does not, and the command."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from icpc_d2.data.scenes.archive import SEEDS
from icpc_d2.data.scenes.captioned import draw_captioned_scene
from icpc_d2.tools.pretrain.command import main
from icpc_d2.tools.pretrain.words import COLORS, evaluate_words
from tests.support.checkpoints import tiny_cfg, write_checkpoint

NUM_SCENES = 30
SCENES = {
    scene.image.tobytes(): scene for scene in (draw_captioned_scene((SEEDS["val"], i)) for i in range(NUM_SCENES))
}


class Told:
    """Answers with the truth about the scenes; colours the other way round if it is `confused`."""

    def __init__(self, confused: bool) -> None:
        self.confused = confused

    def __call__(self, images: Sequence[np.ndarray], classes: Sequence) -> list[SimpleNamespace]:
        return [SimpleNamespace(labels=self._answer(SCENES[image.tobytes()], classes)) for image in images]

    def _answer(self, scene: object, classes: Sequence) -> np.ndarray:
        labels = np.zeros(scene.labels.shape, int)
        for thing in scene.things:
            if len(classes) == 2 and thing.color in COLORS:
                labels[thing.mask] = COLORS.index(thing.color) ^ self.confused
            elif len(classes) == 11 and thing.kind == classes[-1][0]:
                labels[thing.mask] = 0 if self.confused else 10
        return labels


def test_one_that_knows_is_right() -> None:
    figures = evaluate_words(Told(confused=False), NUM_SCENES)
    assert figures["mIoU"] == figures["car_color"] == 100
    kinds = {thing.kind for scene in SCENES.values() for thing in scene.things}
    found = {name.removeprefix("IoU-") for name in figures if name.startswith("IoU-")}
    assert found == kinds - {"sky", "mountain", "water", "grass", "road", "building", "tree", "car", "person", "boat"}
    kind = min(found)
    shares = [
        np.any([t.mask for t in scene.things if t.kind == kind], axis=0).mean()
        for scene in SCENES.values()
        if kind in {t.kind for t in scene.things}
    ]
    assert figures[f"IoU_chance-{kind}"] == pytest.approx(100 * np.mean(shares))


def test_one_that_is_confused_is_wrong() -> None:
    figures = evaluate_words(Told(confused=True), NUM_SCENES)
    assert figures["mIoU"] == figures["car_color"] == 0


def test_the_command_asks_a_trained_model(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cfg = tiny_cfg("MODEL.CLASS_NAMES", ["sky", "road"], "INPUT.MIN_SIZE_TEST", 64)
    main(["--words", str(write_checkpoint(tmp_path, cfg)), "--scenes", "3"])
    assert "chance" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="There is no"):
        main(["--words", str(tmp_path / "none.pth")])
    with pytest.raises(SystemExit):
        main(["--words", "a.pth", "--scenes", "0"])
    assert "wanted is 1 or more" in capsys.readouterr().err
