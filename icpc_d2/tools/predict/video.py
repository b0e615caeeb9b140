"""Videos read and written frame by frame, with their own size and timing, by PyAV; cameras, by OpenCV."""

import time
from collections.abc import Callable, Iterator
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
    """One image of a video."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    tick: int  # when it is shown, in units of `clock`
    clock: Fraction  # seconds


class VideoInfo(NamedTuple):
    """The rate and the length that a video states."""

    rate: Fraction  # mean number of frames a second
    frames: int  # their number; 0 if the file does not say


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
    """Open a video file; yield what it says of itself, and its frames, upright.

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
        # Telephones store how they were held instead of turning the image.
        image = np.rot90(frame.to_ndarray(format="rgb24"), getattr(frame, "rotation", 0) // 90)
        tick, clock = (frame.pts, frame.time_base) if frame.pts is not None else (index, 1 / stream.average_rate)
        yield Frame(np.ascontiguousarray(image), tick, clock)


@contextmanager
def open_camera(index: int) -> Iterator[tuple[VideoInfo, Iterator[Frame]]]:
    """Open a camera of this machine, whose frames come as fast as they are taken, until nobody asks for more.

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


@contextmanager
def write_video(path: Path, rate: Fraction) -> Iterator[Callable[[Frame], None]]:
    """Write a video in H.264 and MP4, which browsers and office programs play; it is whole or not there.

    Args:
        rate: mean number of frames a second.

    Yields:
        A function that appends a frame; all frames are of one size.
    """
    av = import_av()
    with atomically(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": QUALITY})

        def append(frame: Frame) -> None:
            if not stream.codec_context.is_open:
                height, width = frame.image.shape[:2]
                stream.width, stream.height = width, height
                # Colour at half the resolution, as everywhere, unless a side is odd, which that cannot do.
                stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
                stream.codec_context.time_base = frame.clock
            encoded = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.image), format="rgb24")
            encoded.pts, encoded.time_base = frame.tick, frame.clock
            container.mux(stream.encode(encoded))

        yield append
        if stream.codec_context.is_open:
            container.mux(stream.encode())  # what is left
