"""A local web page: drop an image, see its segmentation, look at region maps, type other class names.

icpc app --weights output/quickstart/model_final.pth

It needs the extra [demo], works without a network, and is reached from this machine alone unless told otherwise.
"""

import logging
import os
import sys
import tempfile
import threading
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from icpc_d2.inference.exported_predictor import ExportedPredictor, load_predictor
from icpc_d2.inference.predictor import Predictor
from icpc_d2.tools.app.uploads import FORMATS, Limits
from icpc_d2.tools.app.workbench import Workbench, write_examples

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Read by Gradio when it is imported and when a page is built: no statistics, nothing kept in the visitor's browser.
SETTINGS = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False"}


@contextmanager
def serve(workbench: Workbench, host: str, port: int, examples: Path | None, model_name: str) -> Iterator[str]:
    """Serve the page until the context ends; its files go with it.

    Args:
        host: name or address to listen on.
        port: as is; 0: any free one from 7860 upwards.
        examples: folder of images to pick from; None: drawn ones.
        model_name: for the headline.

    Yields:
        The page's address.
    """
    images = find_examples(examples)
    with tempfile.TemporaryDirectory(prefix="icpc_d2-app-") as folder, environment(GRADIO_TEMP_DIR=folder, **SETTINGS):
        from icpc_d2.tools.app import page

        blocks = page.build_page(workbench, images or write_examples(folder), model_name)
        try:
            _, url, _ = blocks.launch(
                server_name=host,
                server_port=port or None,
                max_file_size=workbench.limits.bytes,
                theme=page.theme(),
                css=page.CSS,
                footer_links=["api"],
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                state_session_capacity=page.VISITORS,
                ssr_mode=False,
            )
            yield url
        finally:
            blocks.close(verbose=False)


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set environment variables until the context ends."""
    before = {name: os.environ[name] for name in variables if name in os.environ}
    os.environ |= variables
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ |= before


def find_examples(folder: Path | None) -> list[Path]:
    """List the images in a folder, by name.

    Raises:
        SystemExit: there are none.
    """
    if folder is None:
        return []
    endings = {f".{name.lower()}" for name in (*FORMATS, "jpg", "tif")}
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in endings)
    if not found:
        sys.exit(f"--examples {folder}: found no picture there, wanted a folder of {', '.join(sorted(endings))} files.")
    return found


def parse_args(arguments: Sequence[str] | None) -> Namespace:
    """Read the command line."""
    limits = Limits()
    parser = ArgumentParser("icpc app", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="checkpoint with its config.yaml, or .onnx with --alignment")
    parser.add_argument("--device", help="cpu, cuda, mps; default: the config's, or the CPU where that is not found")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in; there is no password")
    parser.add_argument("--port", type=int, default=7860, help="0: any free one")
    parser.add_argument("--examples", type=Path, metavar="DIR", help="images to pick from; default: drawn scenes")
    parser.add_argument("--max-mib", type=float, default=limits.bytes / 2**20, help="largest file that is taken")
    parser.add_argument("--max-megapixels", type=float, default=limits.pixels / 1e6, help="largest image taken")
    parser.add_argument("--long-side", type=int, default=limits.long_side, help="larger images are reduced to this")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line until Ctrl+C."""
    args = parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    limits = Limits(int(args.max_mib * 2**20), int(args.max_megapixels * 1e6), long_side=args.long_side)
    workbench = Workbench(load(args.weights, args.device), limits)
    if args.host not in LOOPBACK:
        print(f"Listening on {args.host}: whoever reaches this machine can use the page; there is no password.")
    try:
        with serve(workbench, args.host, args.port, args.examples, Path(args.weights).name) as url:
            print(f"Open {url} (Ctrl+C ends it)", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("Closed.")
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        sys.exit("The web page needs Gradio, which is not installed: run `python -m pip install 'gradio>=6.31,<7'`.")
    except OSError as error:
        sys.exit(f"The page cannot be served on {args.host}, port {args.port}: {error} Try another --port.")
    return 0


def load(weights: str, device: str | None) -> Predictor | ExportedPredictor:
    """Load the model, and try it once, so that the first visitor need not wait.

    Raises:
        SystemExit: it cannot be loaded, or has no alignment to show.
    """
    try:
        predictor = load_predictor(weights, device)
        predictor(np.zeros((64, 64, 3), np.uint8), predict_from="alignment")
    except (ImportError, FileNotFoundError, ValueError) as error:
        sys.exit(f"--weights {weights}: {error}")
    return predictor
