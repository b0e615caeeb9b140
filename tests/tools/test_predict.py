"""``icpc predict``: images, folders, globs, videos and a camera in; files of every kind out, whatever some hold."""

import json
import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from icpc_d2.inference.predictor import Predictor
from icpc_d2.modeling import ICPC
from icpc_d2.tools.predict import command as predict
from icpc_d2.tools.predict.sources import find_sources, unique_names
from icpc_d2.tools.predict.video import Frame, open_video, write_video
from tests.support.checkpoints import tiny_cfg, write_checkpoint


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_checkpoint(tmp_path_factory.mktemp("model"), tiny_cfg()))


def make_image(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    blocks = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(blocks).resize((width, height)))


def make_video(path: Path, height: int, width: int, rate: Fraction, frames: int = 5) -> None:
    with write_video(path, rate) as write:
        for index in range(frames):
            write(Frame(make_image(height, width, index), index, 1 / rate))


def test_a_folder_with_a_broken_make_image(weights: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    photos, seen = tmp_path / "photos", tmp_path / "seen"
    (photos / "inner").mkdir(parents=True)
    for index, size in enumerate([(48, 64), (48, 64), (64, 48), (48, 64), (48, 64)]):
        Image.fromarray(make_image(*size, index)).save(photos / f"{index}.png")
    Image.fromarray(make_image()).save(photos / "inner" / "0.jpg")
    (photos / "2.png").write_bytes((photos / "2.png").read_bytes()[:90])
    (photos / "notes.txt").write_text("no image")

    arguments = ["--weights", weights, "--output", str(seen), "--kind", "overlay,label,json,color,side-by-side"]
    status = predict.main([*arguments, "--input", str(photos), f"{photos}/inner/*.jpg", str(tmp_path / "nowhere.jpg")])

    assert status == 1
    done = {"photos_0", "inner_0", "1", "3", "4"}
    kinds = {f"{kind}.png" for kind in ("overlay", "label", "color", "side-by-side")}
    files = {path.name for path in seen.iterdir()}
    assert files == {f"{name}_{kind}" for name in done for kind in kinds} | {f"{name}.json" for name in done}
    output = capsys.readouterr()
    assert "5 of 7 done" in output.out
    failed = [line for line in output.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2 and "2.png" in failed[1] and "nowhere.jpg" in failed[0]

    wanted = Predictor(weights, "cpu")(photos / "3.png")
    np.testing.assert_array_equal(np.asarray(Image.open(seen / "3_label.png")), wanted.labels)
    assert json.loads((seen / "3.json").read_text()) == json.loads(json.dumps(wanted.summary()))


def test_several_sizes_by_a_flag_or_by_the_config(tmp_path: Path) -> None:
    Image.fromarray(make_image()).save(tmp_path / "a.png")
    labels = []
    for folder, enabled, flags in (("one", False, []), ("flag", False, ["--tta"]), ("config", True, [])):
        weights = write_checkpoint(tmp_path / folder, tiny_cfg("TEST.AUG.ENABLED", enabled, "TEST.AUG.SCALES", [2.0]))
        arguments = ["--weights", str(weights), "--output", str(tmp_path / folder), "--kind", "label", *flags]
        assert predict.main([*arguments, "--input", str(tmp_path / "a.png")]) == 0
        labels.append(np.asarray(Image.open(tmp_path / folder / "a_label.png")))
    wanted = Predictor(tmp_path / "one/model_final.pth", "cpu", tta=True)(tmp_path / "a.png").labels
    assert np.array_equal(labels[1], wanted) and np.array_equal(labels[2], wanted)
    assert not np.array_equal(labels[0], wanted)


def test_other_words(weights: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Image.fromarray(make_image()).save(tmp_path / "a.png")
    arguments = ["--weights", weights, "--input", str(tmp_path / "a.png"), "--output", str(tmp_path), "--kind", "json"]
    assert predict.main([*arguments, "--classes", "grass, a red car"]) == 0
    summary = json.loads((tmp_path / "a.json").read_text())
    assert summary["predict_from"] == "alignment"
    assert {entry["class"] for entry in summary["classes"]} <= {"grass", "a red car"}
    assert "bound to the classes that it was trained for" in capsys.readouterr().out

    wanted = Predictor(weights, "cpu")(tmp_path / "a.png", classes=[["grass", "meadow"], ["a red car"]]).summary()
    (tmp_path / "names.txt").write_text("grass, meadow\na red car\n")
    for words in (["--classes", "grass, meadow; a red car"], ["--classes-file", str(tmp_path / "names.txt")]):
        assert predict.main([*arguments, *words]) == 0
        assert json.loads((tmp_path / "a.json").read_text()) == json.loads(json.dumps(wanted))

    assert predict.main([*arguments, "--classes", "grass, a red car", "--predict-from", "decoder"]) == 2
    assert predict.main([*arguments, "--alpha", "7"]) == 2
    assert predict.main(["--weights", str(tmp_path / "w.pth"), *arguments[2:]]) == 2
    message = capsys.readouterr().err
    assert "bound to the classes" in message and "alpha is 7" in message and "no checkpoint" in message
    with pytest.raises(SystemExit, match="2"):
        predict.main([*arguments[:-1], "overlay,mask"])


def test_an_image_that_the_model_fails_on_does_not_take_its_batch_along(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(3):
        Image.fromarray(make_image(seed=index)).save(tmp_path / f"{index}.png")
    call = predict.SourcePredictor.predict

    def fail_on_the_second(self: predict.SourcePredictor, images: list) -> list:
        if any(np.array_equal(getattr(read, "image", read), make_image(seed=1)) for read in images):
            raise RuntimeError("out of memory")
        return call(self, images)

    monkeypatch.setattr(predict.SourcePredictor, "predict", fail_on_the_second)
    seen = tmp_path / "seen"
    assert predict.main(["--weights", weights, "--input", str(tmp_path), "--output", str(seen)]) == 1
    assert sorted(path.name for path in seen.iterdir()) == ["0_overlay.png", "2_overlay.png"]


@pytest.mark.parametrize(("size", "rate"), [((48, 64), Fraction(30000, 1001)), ((47, 63), Fraction(25, 2))])
def test_a_video_keeps_its_rate_and_size(weights: str, tmp_path: Path, size: tuple[int, int], rate: Fraction) -> None:
    make_video(tmp_path / "film.mp4", *size, rate)
    arguments = ["--weights", weights, "--input", str(tmp_path / "film.mp4"), "--output", str(tmp_path / "seen")]
    assert predict.main([*arguments, "--kind", "overlay,color,label,json,side-by-side"]) == 0

    with open_video(tmp_path / "film.mp4") as (info, frames):
        read = list(frames)
    for kind, width in (("overlay", size[1]), ("color", size[1]), ("side-by-side", 2 * size[1])):
        with open_video(tmp_path / "seen" / f"film_{kind}.mp4") as (found, frames):
            assert (found.rate, found.frames) == (info.rate, 5) == (rate, 5)
            written = list(frames)
        assert [frame.image.shape for frame in written] == [(size[0], width, 3)] * 5
        for ours, theirs in zip(written, read, strict=True):
            assert float(ours.tick * ours.clock) == pytest.approx(float(theirs.tick * theirs.clock), abs=1e-4)
    labels = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "seen" / "film_label").iterdir())]
    predictor = Predictor(weights, "cpu")
    for label, frame in zip(labels, read, strict=True):
        np.testing.assert_array_equal(label, predictor(frame.image).labels)
    summary = json.loads((tmp_path / "seen" / "film.json").read_text())["frames"]
    assert [entry["seconds"] for entry in summary] == pytest.approx([float(index / rate) for index in range(5)])
    assert (tmp_path / "seen" / "film_legend.png").is_file()


def test_a_video_again_with_other_kinds_and_fewer_frames(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    make_video(tmp_path / "film.mp4", 48, 64, Fraction(10))
    seen = tmp_path / "seen"
    arguments = ["--weights", weights, "--input", str(tmp_path / "film.mp4"), "--output", str(seen), "--resume"]
    assert predict.main([*arguments, "--kind", "label"]) == 0
    assert predict.main([*arguments, "--kind", "label,json"]) == 0  # the JSON is not there yet
    assert len(json.loads((seen / "film.json").read_text())["frames"]) == 5
    assert predict.main([*arguments, "--kind", "label,json"]) == 0
    assert capsys.readouterr().out.count("1 are done already") == 1
    assert predict.main([*arguments, "--kind", "label", "--frames", "2"]) == 2
    assert "other settings: frames 0, now 2" in capsys.readouterr().err
    assert predict.main([*arguments[:-1], "--kind", "label", "--frames", "2"]) == 0
    assert sorted(path.name for path in (seen / "film_label").iterdir()) == ["000000.png", "000001.png"]


def test_the_model_gets_batches_of_the_size_that_is_asked_for(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(12):
        Image.fromarray(make_image(seed=index)).save(tmp_path / f"{index}.png")
    preprocess, sizes = ICPC.preprocess_image, []
    monkeypatch.setattr(
        ICPC, "preprocess_image", lambda self, batch: sizes.append(len(batch)) or preprocess(self, batch)
    )
    arguments = ["--weights", weights, "--input", str(tmp_path), "--output", str(tmp_path / "seen")]
    assert predict.main([*arguments, "--batch-size", "10", "--kind", "json"]) == 0
    assert sizes == [1, 10, 2]  # the first one tries the model


def test_colours_come_through_a_video(tmp_path: Path) -> None:
    for size in ((48, 64), (47, 63)):
        make_video(tmp_path / "film.mp4", *size, Fraction(10))
        with open_video(tmp_path / "film.mp4") as (_, frames):
            difference = np.abs(next(frames).image.astype(int) - make_image(*size)).mean()
        assert difference < 6


def test_broken_videos_leave_nothing_and_do_not_stop_the_others(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    make_video(tmp_path / "b.mp4", 48, 64, Fraction(10))
    (tmp_path / "a.mp4").write_bytes((tmp_path / "b.mp4").read_bytes()[:300])
    (tmp_path / "c.mp4").write_bytes(b"")
    arguments = ["--weights", weights, "--input", str(tmp_path), "--output", str(tmp_path / "seen"), "--frames", "2"]
    assert predict.main(arguments) == 1
    assert {path.name for path in (tmp_path / "seen").iterdir()} == {"b_overlay.mp4", "b_legend.png"}
    error = capsys.readouterr().err
    assert "failed: " in error and "a.mp4" in error and "c.mp4" in error and "b.mp4" not in error
    with open_video(tmp_path / "seen" / "b_overlay.mp4") as (info, _):
        assert info.frames == 2


class Camera:
    """Stands in for OpenCV's: three frames of one colour, and then Ctrl-C."""

    def __init__(self, index: int) -> None:
        self.frames = iter([make_image(seed=number) for number in range(3)] if index == 0 else [])
        self.index = index

    def isOpened(self) -> bool:  # as OpenCV calls it
        return self.index == 0

    def get(self, name: int) -> float:
        return {cv2.CAP_PROP_FPS: 15.0}.get(name, 0.0)

    def read(self) -> tuple[bool, np.ndarray | None]:
        image = next(self.frames, None)
        if image is None:
            raise KeyboardInterrupt
        return True, image[:, :, ::-1]

    def release(self) -> None:
        pass


def test_a_camera_until_it_is_stopped(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    arguments = ["--weights", weights, "--output", str(tmp_path), "--kind", "overlay,json", "--input", "0", "3"]
    assert predict.main(arguments) == 1
    assert "camera 3: there is none" in capsys.readouterr().err
    with open_video(tmp_path / "camera0_overlay.mp4") as (_, frames):
        assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 3
    assert len(json.loads((tmp_path / "camera0.json").read_text())["frames"]) == 3


def test_variable_frame_rates_keep_their_times(tmp_path: Path) -> None:
    with write_video(tmp_path / "film.mp4", Fraction(10)) as write:
        for tick in (0, 100, 150, 900):
            write(Frame(make_image(), tick, Fraction(1, 1000)))
    with open_video(tmp_path / "film.mp4") as (_, frames):
        times = [float(frame.tick * frame.clock) for frame in frames]
    assert times == pytest.approx([0, 0.1, 0.15, 0.9], abs=1e-3)


def test_turned_videos_are_put_upright(tmp_path: Path) -> None:
    """As telephones turn them: by a matrix in the track's header. OpenCV reads it too."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[:12], image[:, :8] = (250, 20, 20), (20, 20, 250)
    with write_video(tmp_path / "film.mp4", Fraction(10)) as write:
        write(Frame(image, 0, Fraction(1, 10)))
    content = bytearray((tmp_path / "film.mp4").read_bytes())
    place = content.find(struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30), content.find(b"tkhd"))
    content[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    (tmp_path / "film.mp4").write_bytes(content)

    with open_video(tmp_path / "film.mp4") as (_, frames):
        found = next(frames).image
    np.testing.assert_array_equal(found, cv2.VideoCapture(str(tmp_path / "film.mp4")).read()[1][:, :, ::-1])
    assert np.abs(found.astype(int) - np.rot90(image, -1)).mean() < 3


def test_videos_play_everywhere(tmp_path: Path) -> None:
    make_video(tmp_path / "film.mp4", 48, 64, Fraction(10))
    with av.open(str(tmp_path / "film.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")


def test_names_of_results_never_meet(tmp_path: Path) -> None:
    assert unique_names(["a/x.jpg", "b/y.png"]) == ["x", "y"]
    assert unique_names(["a/x.jpg", "b/X.jpg"]) == ["a_x", "b_X"]
    names = unique_names(["a/x.jpg", "a/x.png", "c/a/x.png", "x.jpg"])
    assert len({name.lower() for name in names}) == 4
    (tmp_path / "0").write_bytes(b"")
    found, missing = find_sources([str(tmp_path / "0"), "1", str(tmp_path / "*.jpg")])
    assert [source.kind for source in found] == ["image", "camera"]
    assert list(missing) == [str(tmp_path / "*.jpg")]
