"""Each kind of bad upload has its message and each unusual one is put right, before anything is segmented."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from icpc_d2.data.reading import read_image
from icpc_d2.tools.app.uploads import Limits, Upload, UploadError, harmless_name, read_upload
from tests.support.strange_images import REFUSED, TAKEN, TRICKS, encode, photo


def read(folder: Path, content: bytes, name: str = "a.png", limits: Limits = Limits()) -> Upload:  # noqa: B008
    (folder / "upload").write_bytes(content)
    return read_upload(str(folder / "upload"), name, limits)


@pytest.mark.parametrize("kind", REFUSED)
def test_bad_uploads_are_refused_with_a_message(tmp_path: Path, kind: str) -> None:
    bad = REFUSED[kind]
    with pytest.raises(UploadError, match=bad.says) as caught:
        read(tmp_path, bad.content(), bad.name)
    assert str(tmp_path) not in str(caught.value), "the message tells where things are on this machine"


@pytest.mark.parametrize("kind", TAKEN)
def test_unusual_uploads_are_put_right(tmp_path: Path, kind: str) -> None:
    unusual = TAKEN[kind]
    upload = read(tmp_path, unusual.content(), unusual.name)
    wanted = np.asarray(photo())
    assert (upload.image.dtype, upload.image.shape) == (np.uint8, wanted.shape)
    assert re.search(unusual.says, " ".join(upload.notes))
    # Dither and compression change single pixels; a picture that lies on its side, is inverted or white is unlike.
    found, wanted = (image.mean(axis=2).ravel() for image in (upload.image, wanted))
    assert abs(found.mean() - wanted.mean()) < 25
    assert np.corrcoef(found, wanted)[0, 1] > (0.3 if kind == "one bit" else 0.95)


def test_files_above_the_limit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UploadError, match=r"a.png has 0\.0 MiB; at most 9\.54e-06 are taken. Send a smaller copy"):
        read(tmp_path, encode(photo(), "PNG"), limits=Limits(bytes=10))


def test_large_pictures_are_reduced_and_keep_their_proportion(tmp_path: Path) -> None:
    upload = read(tmp_path, encode(photo(120, 400), "PNG"), limits=Limits(long_side=100))
    assert upload.image.shape == (30, 100, 3)
    assert upload.notes == ("Reduced from 400 x 120 to 100 x 30 pixels.",)
    wanted = np.asarray(photo(120, 400).resize((100, 30), Image.Resampling.BOX)).astype(int)
    assert np.abs(upload.image - wanted).mean() < 2


def test_pictures_within_the_limits_are_what_training_reads(tmp_path: Path) -> None:
    content = encode(photo(), "JPEG")
    (tmp_path / "b.jpg").write_bytes(content)
    np.testing.assert_array_equal(read(tmp_path, content).image, read_image(str(tmp_path / "b.jpg")))


@pytest.mark.parametrize("name", TRICKS)
def test_names_lose_what_could_do_harm(tmp_path: Path, name: str) -> None:
    assert harmless_name(name) == TRICKS[name]
    assert read(tmp_path, encode(photo(), "PNG"), name).stem == Path(TRICKS[name]).stem


@given(name=st.text())
def test_any_name_becomes_one_that_stays_in_its_folder(name: str) -> None:
    made = harmless_name(name)
    assert made
    assert Path(made).name == made
    assert made not in (".", "..")
    assert not set(made) & set('/\\<>:"|?*\x00\n')
    assert len(made) <= 70


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]), data=st.data())
def test_damaged_files_are_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    content = bytearray(encode(photo(), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, min(len(content) - 1, 400)))] = data.draw(st.integers(0, 255))
    try:
        upload = read(tmp_path_factory.getbasetemp(), bytes(content))
    except UploadError as error:
        assert "a.png" in str(error)
    else:
        assert upload.image.ndim == 3
