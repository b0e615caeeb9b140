"""Reading and writing videos frame by frame, with their own size and timing. Needs PyAV; cameras need OpenCV alone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from icpc_d2.data.reading import BadFileError
from icpc_d2.files import atomically

if TYPE_CHECKING:
    import av

# Of H.264: visually lossless.
QUALITY = "18"
# Of a camera's timestamps, per second.
CAMERA_CLOCK = 1000


class Frame(NamedTuple):
    """A picture of a video.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        tick: when it is shown, in units of `clock`.
        clock: seconds.
    """

    image: np.ndarray
    tick: int
    clock: Fraction


class VideoInfo(NamedTuple):
    """What a video says of itself.

    Attributes:
        rate: mean number of frames a second.
        frames: their number; 0 if the file does not say.
    """

    rate: Fraction
    frames: int


def import_av() -> "av":
    """Return the module PyAV.

    Raises:
        ImportError: it is not installed; says how to.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError("videos need PyAV: python -m pip install av (or this package's extra 'demo')") from error
    return av


@contextmanager
def open_video(path: Path) -> Iterator[tuple[VideoInfo, Iterator[Frame]]]:
    """Open a video file: what it says of itself, and its frames, upright.

    Raises:
        BadFileError: it holds no video, or is damaged.
    """
    av = import_av()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise BadFileError(f"{path}: found no video in it.")
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            yield VideoInfo(rate, stream.frames), _decode(container, stream)
    except av.FFmpegError as error:
        raise BadFileError(f"{path}: wanted a readable video, found: {error}") from error


def _decode(container: "av.container.InputContainer", stream: "av.VideoStream") -> Iterator[Frame]:
    for index, frame in enumerate(container.decode(stream)):
        # Telephones store how they were held instead of turning the picture.
        image = np.rot90(frame.to_ndarray(format="rgb24"), getattr(frame, "rotation", 0) // 90)
        tick, clock = (frame.pts, frame.time_base) if frame.pts is not None else (index, 1 / stream.average_rate)
        yield Frame(np.ascontiguousarray(image), tick, clock)


@contextmanager
def open_camera(index: int) -> Iterator[tuple[VideoInfo, Iterator[Frame]]]:
    """Open a camera of this machine: its frames come as fast as they are taken, until nobody asks for more.

    Raises:
        BadFileError: there is no such camera.
    """
    import cv2

    camera = cv2.VideoCapture(index)
    try:
        if not camera.isOpened():
            raise BadFileError(f"camera {index}: there is none, or another program uses it.")
        yield VideoInfo(Fraction(round(camera.get(cv2.CAP_PROP_FPS)) or 30), 0), _watch(camera)
    finally:
        camera.release()


def _watch(camera: "cv2.VideoCapture") -> Iterator[Frame]:  # noqa: F821  imported where it is needed
    start, last = time.monotonic(), -1
    while True:
        taken, image = camera.read()
        if not taken:
            return
        # Two frames at the same time could not be written.
        last = max(last + 1, round((time.monotonic() - start) * CAMERA_CLOCK))
        yield Frame(np.ascontiguousarray(image[:, :, ::-1]), last, Fraction(1, CAMERA_CLOCK))


class VideoWriter:
    """Writes frames as H.264 in MP4, which browsers and office programs play."""

    def __init__(self, path: Path, rate: Fraction) -> None:
        """
        Args:
            path: written as it is; see :func:`write_video`.
            rate: mean number of frames a second.
        """
        self._av = import_av()
        self._container = self._av.open(str(path), "w", format="mp4")
        self._stream = self._container.add_stream("libx264", rate=rate, options={"crf": QUALITY})
        self._sized = False

    def write(self, frame: Frame) -> None:
        """Append a frame; all are of one size."""
        if not self._sized:
            height, width = frame.image.shape[:2]
            self._stream.width, self._stream.height = width, height
            # Colour at half the resolution, as everywhere, unless a side is odd, which that cannot do.
            self._stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
            self._stream.codec_context.time_base = frame.clock
            self._sized = True
        encoded = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.image), format="rgb24")
        encoded.pts, encoded.time_base = frame.tick, frame.clock
        self._container.mux(self._stream.encode(encoded))

    def close(self) -> None:
        """Write what is left."""
        if self._sized:
            self._container.mux(self._stream.encode())
        self._container.close()


@contextmanager
def write_video(path: Path, rate: Fraction) -> Iterator[VideoWriter]:
    """Write a video that is whole or not there."""
    with atomically(path) as temporary:
        writer = VideoWriter(temporary, rate)
        try:
            yield writer
        finally:
            writer.close()
