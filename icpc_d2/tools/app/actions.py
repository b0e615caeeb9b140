"""What happens when the parts of the web page are touched: from their values to values to show.

Everything that is said or shown comes from `icpc_d2.tools.app.workbench`.
"""

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
# Of the colour of a mask over the picture.
OPACITY = 0.55
# Below this share of the picture a class is in the lists, but has no mask of its own to be drawn.
SMALLEST_SHARE = 0.001
MESSAGE_SECONDS = 30


def _answering(action: Callable[..., Any]) -> Callable[..., Any]:
    """Show what is wrong with a request as a message; keep what is wrong with the server in its log."""

    @wraps(action)
    def answer(*args: Any) -> Any:
        try:
            return action(*args)
        except UploadError as error:
            _refuse(str(error))
        except Exception:
            logger.exception("A request failed")
            _refuse("This went wrong on the server; its log says what. Others are still served.")

    return answer


def _refuse(message: str) -> NoReturn:
    # Messages are shown as HTML, and have parts of file names and class names in them.
    raise gr.Error(html.escape(message, quote=False), duration=MESSAGE_SECONDS, print_exception=False)


def refusing_urls(move: Callable[[str | None], Awaitable[str | None]]) -> Callable[..., Awaitable[str | None]]:
    """Keep Gradio from fetching a picture whose address was sent in place of a file."""

    async def move_file(path: str | None) -> str | None:
        if "://" in str(path):
            _refuse("Found an address, wanted is a file: send the picture itself.")
        return await move(path)

    return move_file


class Actions:
    """What happens on an event."""

    def __init__(self, workbench: Workbench, cache: Path) -> None:
        """
        Args:
            workbench: answers.
            cache: folder that uploads lie in, resolved; answers are written there.
        """
        self.workbench = workbench
        self.cache = cache

    @_answering
    def segment(self, picture: dict[str, Any] | None, words: str, source: str) -> tuple[Any, ...]:
        """Segment the picture; without one, clear the page."""
        if not picture:
            return cleared()
        path = Path(str(picture.get("path"))).resolve()
        if not (path.is_relative_to(self.cache) and path.is_file()):
            raise UploadError("Found a path, wanted is a file: send the picture itself.")
        answer = self.workbench.segment(str(path), picture.get("orig_name") or path.name, str(words or ""), source)
        found = shares(answer.prediction)
        first = next(iter(found))
        start = time.perf_counter()
        drawn = annotated(answer), region_map(answer.prediction, first)
        answer.seconds["draw"] = time.perf_counter() - start
        names = gr.Dropdown(choices(found), value=first, interactive=True)
        return answer, drawn[0], names, drawn[1], describe_upload(answer, self.workbench.device), *waiting()

    @_answering
    def pick(self, answer: SegmentedUpload | None, event: gr.SelectData) -> tuple[Any, ...]:
        """Show the region map of the class whose name in the legend was clicked."""
        name = present(_given(answer))[event.index]
        return name, region_map(answer.prediction, name)

    @_answering
    def show_region(self, answer: SegmentedUpload | None, name: str) -> Any:
        """Show the region map of a class."""
        if name not in _given(answer).prediction.classes:
            raise UploadError(f"Found {name!r}, wanted one of the classes: {', '.join(answer.prediction.classes)}.")
        return region_map(answer.prediction, name)

    @_answering
    def compare(self, answer: SegmentedUpload | None) -> tuple[Any, ...]:
        """Show what the decoder and what A says."""
        comparison = self.workbench.compare(_given(answer))
        pictures = comparison.decoder.overlay(legend=False), comparison.alignment.overlay(legend=False)
        return pictures, *describe_comparison(comparison)

    @_answering
    def pack(self, answer: SegmentedUpload | None) -> Any:
        """Make the file to download; nothing after the page was cleared."""
        if answer is None:
            return waiting()[0]
        return gr.DownloadButton(value=write_zip(answer, self.cache), interactive=True)


def cleared() -> tuple[Any, ...]:
    """The page before there is an answer."""
    return None, None, gr.Dropdown([], value=None, interactive=False), None, INVITATION, *waiting()


def waiting() -> tuple[Any, ...]:
    """Download and comparison before they are made."""
    return gr.DownloadButton(value=None, interactive=False), None, f"{COMPARISON}.", ""


def _given(answer: SegmentedUpload | None) -> SegmentedUpload:
    if answer is None:
        raise UploadError(f"There is no answer yet, or it was forgotten after a while. {INVITATION}")
    return answer


def present(answer: SegmentedUpload) -> list[str]:
    """Classes that are drawn, the largest first."""
    return [name for name, share in shares(answer.prediction).items() if share >= SMALLEST_SHARE]


def annotated(answer: SegmentedUpload) -> gr.AnnotatedImage:
    """The picture with a mask for each class that is present."""
    prediction, found, colors = answer.prediction, shares(answer.prediction), class_colors(answer.prediction)
    labels = {name: f"{name} {found[name]:.1%}" for name in present(answer)}
    masks = [(OPACITY * (prediction.labels == prediction.classes.index(name)), label) for name, label in labels.items()]
    return gr.AnnotatedImage(
        value=(prediction.image, masks), color_map={label: colors[name] for name, label in labels.items()}
    )
