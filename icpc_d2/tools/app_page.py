"""The web page of `icpc_d2.tools.app`: which parts it has, and what happens when they are touched.

Everything that it says or shows comes from `icpc_d2.tools.workbench`. It fetches nothing from other machines: its fonts
are the visitor's own, and Gradio's statistics are off.
"""

import html
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import gradio as gr

from icpc_d2.tools.app_texts import COMPARISON, choices, color_scale, describe, describe_comparison
from icpc_d2.tools.uploads import UploadError
from icpc_d2.tools.workbench import Answer, Workbench, class_colors, region_map, shares, write_zip

logger = logging.getLogger(__name__)

TITLE = "ICPC: name what you see"
INVITATION = "Drop a picture on the left, or pick an example."
SOURCES = [("Decoder", "decoder"), ("Alignment A", "alignment")]
# Of the colour of a mask over the picture.
OPACITY = 0.55
# Below this share of the picture a class is in the lists, but has no mask of its own to be drawn.
SMALLEST_SHARE = 0.001
# Seconds: what visitors sent and were given is removed this long after.
KEPT = 3600
MESSAGE_SECONDS = 30
# Requests in the queue; more are refused.
WAITING = 64
# Answers that are kept in memory; of more visitors the oldest ones have to send their picture again.
VISITORS = 64
FONTS = ["system-ui", "sans-serif"]
CSS = """
.legend-item, .legend { font-size: var(--text-md); }
.legend span { display: inline-block; margin-right: 1.2em; white-space: nowrap; }
.legend i { display: inline-block; width: 1.6em; height: 1em; margin-right: .4em; vertical-align: -.1em; }
.scale { display: flex; align-items: center; gap: .6em; font-size: var(--text-sm); }
.scale i { flex: 1; height: .8em; }
#header h1 { margin: 0; }
"""


def theme() -> gr.themes.Base:
    """Colours and fonts; the fonts are those of the visitor's system."""
    return gr.themes.Default(
        primary_hue="blue", neutral_hue="slate", font=FONTS, font_mono=["ui-monospace", "monospace"]
    )


def build_page(workbench: Workbench, examples: Sequence[Path], model_name: str) -> gr.Blocks:
    """Build the page.

    Args:
        workbench: answers.
        examples: pictures to pick from.
        model_name: of what answers, for the headline.
    """
    actions = Actions(workbench)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEPT // 6, KEPT), fill_width=True) as page:
        gr.Markdown(f"# {TITLE}\n{html.escape(model_name)} on {workbench.device}", elem_id="header")
        session = gr.State(time_to_live=KEPT)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                picture = gr.Image(type="filepath", image_mode=None, label="Picture", height=260, elem_id="picture")
                gr.Examples([[str(path)] for path in examples], [picture], label="Examples")
                words = gr.Textbox(
                    label="Other class names",
                    info="Between commas; the alignment A segments with any words. Empty: those of the training.",
                    placeholder="sky, forest, lake, sailing boat",
                    elem_id="words",
                )
                source = gr.Radio(
                    SOURCES, value=workbench.predictor.predict_from, label="Predict from", elem_id="source"
                )
                go = gr.Button("Segment", variant="primary", elem_id="go")
            with gr.Column(scale=6):
                status = gr.Markdown(INVITATION, elem_id="status")
                with gr.Tab("Segmentation"), gr.Row():
                    with gr.Column():
                        gr.Markdown("**Classes**: point at a name to see it alone, click it for its region map.")
                        segmentation = gr.AnnotatedImage(show_label=False, elem_id="segmentation")
                        download = gr.DownloadButton("Download all as zip", interactive=False, elem_id="download")
                    with gr.Column():
                        gr.Markdown("**Region map**: where the alignment A speaks for a class.")
                        region = gr.Image(
                            show_label=False, interactive=False, buttons=["download", "fullscreen"], elem_id="region"
                        )
                        gr.HTML(color_scale())
                        name = gr.Dropdown([], label="Class of the region map", interactive=False, elem_id="class")
                with gr.Tab("Decoder against A"):
                    with gr.Row(equal_height=True):
                        agreement = gr.Markdown(f"{COMPARISON}.")
                        compare = gr.Button("Compare", elem_id="compare", scale=0, min_width=160)
                    slider = gr.ImageSlider(show_label=False, interactive=False, max_height=520, elem_id="comparison")
                    legend = gr.HTML()
        picture.async_move_resource_to_block_cache = _refusing_urls(picture.async_move_resource_to_block_cache)
        outputs = [session, segmentation, name, region, status, download, slider, agreement, legend]
        answered = gr.on(
            [picture.change, words.submit, source.input, go.click],
            actions.segment,
            [picture, words, source],
            outputs,
            # The picture is opened by `icpc_d2.tools.uploads` alone.
            preprocess=False,
            api_name="segment",
            trigger_mode="always_last",
            concurrency_id="model",
        )
        answered.success(actions.pack, session, download, api_name="download", show_progress="hidden")
        # Else what is shown would belong to the picture before.
        answered.failure(cleared, None, outputs, api_visibility="private", show_progress="hidden")
        segmentation.select(actions.pick, session, [name, region], api_visibility="private")
        name.input(actions.show_region, [session, name], region, preprocess=False, api_name="region")
        compare.click(actions.compare, session, [slider, agreement, legend], api_name="compare", concurrency_id="model")
    actions.cache = Path(picture.GRADIO_CACHE).resolve()
    return page.queue(max_size=WAITING, default_concurrency_limit=1)


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


def _refusing_urls(move: Callable[[str | None], Awaitable[str | None]]) -> Callable[..., Awaitable[str | None]]:
    """Keep Gradio from fetching a picture whose address was sent in place of a file."""

    async def move_file(path: str | None) -> str | None:
        if "://" in str(path):
            _refuse("Found an address, wanted is a file: send the picture itself.")
        return await move(path)

    return move_file


class Actions:
    """What happens on an event: from values of the parts to values of the parts.

    Attributes:
        cache: folder that uploads lie in.
    """

    def __init__(self, workbench: Workbench) -> None:
        self.workbench = workbench
        self.cache = Path()

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
        return answer, drawn[0], names, drawn[1], describe(answer, self.workbench.device), *waiting()

    @_answering
    def pick(self, answer: Answer | None, event: gr.SelectData) -> tuple[Any, ...]:
        """Show the region map of the class whose name in the legend was clicked."""
        name = present(_given(answer))[event.index]
        return name, region_map(answer.prediction, name)

    @_answering
    def show_region(self, answer: Answer | None, name: str) -> Any:
        """Show the region map of a class."""
        if name not in _given(answer).prediction.classes:
            raise UploadError(f"Found {name!r}, wanted one of the classes: {', '.join(answer.prediction.classes)}.")
        return region_map(answer.prediction, name)

    @_answering
    def compare(self, answer: Answer | None) -> tuple[Any, ...]:
        """Show what the decoder and what A says."""
        comparison = self.workbench.compare(_given(answer))
        pictures = comparison.decoder.overlay(legend=False), comparison.alignment.overlay(legend=False)
        return pictures, *describe_comparison(comparison)

    @_answering
    def pack(self, answer: Answer | None) -> Any:
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


def _given(answer: Answer | None) -> Answer:
    if answer is None:
        raise UploadError(f"There is no answer yet, or it was forgotten after a while. {INVITATION}")
    return answer


def present(answer: Answer) -> list[str]:
    """Classes that are drawn, the largest first."""
    return [name for name, share in shares(answer.prediction).items() if share >= SMALLEST_SHARE]


def annotated(answer: Answer) -> gr.AnnotatedImage:
    """The picture with a mask for each class that is present."""
    prediction, found, colors = answer.prediction, shares(answer.prediction), class_colors(answer.prediction)
    labels = {name: f"{name} {found[name]:.1%}" for name in present(answer)}
    masks = [(OPACITY * (prediction.labels == prediction.classes.index(name)), label) for name, label in labels.items()]
    return gr.AnnotatedImage(
        value=(prediction.image, masks), color_map={label: colors[name] for name, label in labels.items()}
    )
