"""The actions of the web page, from the values of its parts to values to show; the work is done by the workbench."""

import html
import logging
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import gradio as gr

from icpc_d2.tools.app.texts import COMPARISON, choices, describe_comparison, describe_upload
from icpc_d2.tools.app.uploads import UploadError
from icpc_d2.tools.app.workbench import SegmentedUpload, Workbench, class_colors, region_map, shares, write_zip

logger = logging.getLogger(__name__)

INVITATION = "Drop a picture on the left, or pick an example."
# Of the colour of a mask over the image.
OPACITY = 0.55
# Below this share of the image a class is in the lists, but has no mask of its own to be drawn.
SMALLEST_SHARE = 0.001
MESSAGE_SECONDS = 30


def _reporting(action: Callable[..., Any]) -> Callable[..., Any]:
    """Show what is wrong with a request as a message; keep what is wrong with the server in its log."""

    @wraps(action)
    def act(*args: Any) -> Any:
        try:
            return action(*args)
        except UploadError as error:
            _refuse(str(error))
        except Exception:
            logger.exception("A request failed")
            _refuse("This went wrong on the server; its log says what. Others are still served.")

    return act


def _refuse(message: str) -> NoReturn:
    # Messages are shown as HTML, and have parts of file names and class names in them.
    raise gr.Error(html.escape(message, quote=False), duration=MESSAGE_SECONDS, print_exception=False)


def refusing_urls(move: Callable[[str | None], Awaitable[str | None]]) -> Callable[..., Awaitable[str | None]]:
    """Keep Gradio from fetching an image whose address was sent in place of a file."""

    async def move_file(path: str | None) -> str | None:
        if "://" in str(path):
            _refuse("Found an address, wanted is a file: send the picture itself.")
        return await move(path)

    return move_file


class Actions:
    """The page's reactions to events."""

    def __init__(self, workbench: Workbench, cache: Path) -> None:
        """Take uploads from the folder `cache`, a resolved path, and write files to download there."""
        self.workbench = workbench
        self.cache = cache

    @_reporting
    def segment(self, picture: dict[str, Any] | None, words: str, source: str) -> tuple[Any, ...]:
        """Segment the image; without one, clear the page. The arguments have these names for scripts, too."""
        if not picture:
            return cleared()
        path = Path(str(picture.get("path"))).resolve()
        if not (path.is_relative_to(self.cache) and path.is_file()):
            raise UploadError("Found a path, wanted is a file: send the picture itself.")
        name = picture.get("orig_name") or path.name
        segmented = self.workbench.segment(str(path), name, str(words or ""), source)
        found = shares(segmented.prediction)
        first = next(iter(found))
        start = time.perf_counter()
        masks, region = annotated(segmented), region_map(segmented.prediction, first)
        segmented.seconds["draw"] = time.perf_counter() - start
        names = gr.Dropdown(choices(found), value=first, interactive=True)
        return segmented, masks, names, region, describe_upload(segmented, self.workbench.device), *waiting()

    @_reporting
    def pick(self, segmented: SegmentedUpload | None, event: gr.SelectData) -> tuple[Any, ...]:
        """Show the region map of the class whose name in the legend was clicked."""
        name = present(_given(segmented))[event.index]
        return name, region_map(segmented.prediction, name)

    @_reporting
    def show_region(self, segmented: SegmentedUpload | None, name: str) -> Any:
        """Show the region map of a class."""
        if name not in _given(segmented).prediction.classes:
            raise UploadError(f"Found {name!r}, wanted one of the classes: {', '.join(segmented.prediction.classes)}.")
        return region_map(segmented.prediction, name)

    @_reporting
    def compare(self, segmented: SegmentedUpload | None) -> tuple[Any, ...]:
        """Show the predictions of the decoder and of A."""
        comparison = self.workbench.compare(_given(segmented))
        images = comparison.decoder.overlay(legend=False), comparison.alignment.overlay(legend=False)
        return images, *describe_comparison(comparison)

    @_reporting
    def pack(self, segmented: SegmentedUpload | None) -> Any:
        """Make the file to download; nothing after the page was cleared."""
        if segmented is None:
            return waiting()[0]
        return gr.DownloadButton(value=write_zip(segmented, self.cache), interactive=True)


def cleared() -> tuple[Any, ...]:
    """Return the values of the page before there is a prediction."""
    return None, None, gr.Dropdown([], value=None, interactive=False), None, INVITATION, *waiting()


def waiting() -> tuple[Any, ...]:
    """Return the values of download and comparison before they are made."""
    return gr.DownloadButton(value=None, interactive=False), None, f"{COMPARISON}.", ""


def _given(segmented: SegmentedUpload | None) -> SegmentedUpload:
    if segmented is None:
        raise UploadError(f"There is no answer yet, or it was forgotten after a while. {INVITATION}")
    return segmented


def present(segmented: SegmentedUpload) -> list[str]:
    """List the classes that are drawn, the largest first."""
    return [name for name, share in shares(segmented.prediction).items() if share >= SMALLEST_SHARE]


def annotated(segmented: SegmentedUpload) -> gr.AnnotatedImage:
    """Return the image with a mask for each class that is present."""
    prediction = segmented.prediction
    found, colors = shares(prediction), class_colors(prediction)
    labels = {name: f"{name} {found[name]:.1%}" for name in present(segmented)}
    masks = [(OPACITY * (prediction.labels == prediction.classes.index(name)), label) for name, label in labels.items()]
    return gr.AnnotatedImage(
        value=(prediction.image, masks), color_map={label: colors[name] for name, label in labels.items()}
    )
