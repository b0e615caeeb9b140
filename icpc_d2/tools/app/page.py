"""The layout of the web page: its parts, their places and their actions.

It fetches nothing from other machines: its fonts are the visitor's own, and Gradio's statistics are off.
"""

import html
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from icpc_d2.tools.app.actions import INVITATION, Actions, cleared, refusing_urls
from icpc_d2.tools.app.texts import COMPARISON, color_scale
from icpc_d2.tools.app.workbench import Workbench

TITLE = "ICPC: name what you see"
SOURCES = [("Decoder", "decoder"), ("Alignment A", "alignment")]
# Seconds: what visitors sent and were given is removed this long after.
KEPT = 3600
# Requests in the queue; more are refused.
WAITING = 64
# Predictions that are kept in memory; of more visitors the oldest ones have to send their image again.
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
    """Return colours and fonts; the fonts are those of the visitor's system."""
    return gr.themes.Default(
        primary_hue="blue", neutral_hue="slate", font=FONTS, font_mono=["ui-monospace", "monospace"]
    )


def build_page(workbench: Workbench, examples: Sequence[Path], model_name: str) -> gr.Blocks:
    """Build the page.

    Args:
        workbench: predicts.
        examples: image files to pick from.
        model_name: for the headline.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEPT // 6, KEPT), fill_width=True) as page:
        gr.Markdown(f"# {TITLE}\n{html.escape(model_name)} on {workbench.device}", elem_id="header")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                request = _place_request(examples, workbench.predictor.predict_from)
            with gr.Column(scale=6):
                shown = _place_prediction()
        _connect(request, shown, Actions(workbench, Path(request.image.GRADIO_CACHE).resolve()))
    return page.queue(max_size=WAITING, default_concurrency_limit=1)


def _place_request(examples: Sequence[Path], predict_from: str) -> SimpleNamespace:
    """Place the parts that the visitor fills in, and return them by name."""
    parts = SimpleNamespace()
    parts.image = gr.Image(type="filepath", image_mode=None, label="Picture", height=260, elem_id="picture")
    parts.image.async_move_resource_to_block_cache = refusing_urls(parts.image.async_move_resource_to_block_cache)
    gr.Examples([[str(path)] for path in examples], [parts.image], label="Examples")
    parts.class_names = gr.Textbox(
        label="Other class names",
        info=(
            "Between commas, or between semicolons with commas between several names of a class. The alignment A "
            "segments with any words. Empty: those of the training."
        ),
        placeholder="sky, forest, lake, sailing boat",
        elem_id="words",
    )
    parts.source = gr.Radio(SOURCES, value=predict_from, label="Predict from", elem_id="source")
    parts.go = gr.Button("Segment", variant="primary", elem_id="go")
    return parts


def _place_prediction() -> SimpleNamespace:
    """Place the parts that show a prediction, and return them by name."""
    parts = SimpleNamespace()
    parts.status = gr.Markdown(INVITATION, elem_id="status")
    with gr.Tab("Segmentation"), gr.Row():
        with gr.Column():
            gr.Markdown("**Classes**: point at a name to see it alone, click it for its region map.")
            parts.segmentation = gr.AnnotatedImage(show_label=False, elem_id="segmentation")
            parts.download = gr.DownloadButton("Download all as zip", interactive=False, elem_id="download")
        with gr.Column():
            gr.Markdown("**Region map**: where the alignment A speaks for a class.")
            buttons = ["download", "fullscreen"]
            parts.region = gr.Image(show_label=False, interactive=False, buttons=buttons, elem_id="region")
            gr.HTML(color_scale())
            parts.name = gr.Dropdown([], label="Class of the region map", interactive=False, elem_id="class")
    with gr.Tab("Decoder against A"):
        with gr.Row(equal_height=True):
            parts.agreement = gr.Markdown(f"{COMPARISON}.")
            parts.compare = gr.Button("Compare", elem_id="compare", scale=0, min_width=160)
        parts.slider = gr.ImageSlider(show_label=False, interactive=False, max_height=520, elem_id="comparison")
        parts.legend = gr.HTML()
    return parts


def _connect(request: SimpleNamespace, shown: SimpleNamespace, actions: Actions) -> None:
    session = gr.State(time_to_live=KEPT)
    comparison = [shown.slider, shown.agreement, shown.legend]
    outputs = [session, shown.segmentation, shown.name, shown.region, shown.status, shown.download, *comparison]
    segmented = gr.on(
        [request.image.change, request.class_names.submit, request.source.input, request.go.click],
        actions.segment,
        [request.image, request.class_names, request.source],
        outputs,
        # The image is opened by `icpc_d2.tools.app.uploads` alone.
        preprocess=False,
        api_name="segment",
        trigger_mode="always_last",
        concurrency_id="model",
    )
    segmented.success(actions.pack, session, shown.download, api_name="download", show_progress="hidden")
    # Else what is shown would belong to the image before.
    segmented.failure(cleared, None, outputs, api_visibility="private", show_progress="hidden")
    shown.segmentation.select(actions.pick, session, [shown.name, shown.region], api_visibility="private")
    shown.name.input(actions.show_region, [session, shown.name], shown.region, preprocess=False, api_name="region")
    shown.compare.click(actions.compare, session, comparison, api_name="compare", concurrency_id="model")
