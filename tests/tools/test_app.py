"""The web page's server, over HTTP as a browser or a stranger's script uses it."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.documents import commands_of, read, snippet
from tests.support.page import CLASSES, LIMITS
from tests.support.strange_images import REFUSED, TAKEN, TRICKS, encode, photo

pytest.importorskip("gradio", reason="the web page needs the extra [demo]")
import httpx
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from icpc_d2.tools.app import command as app

DOCUMENT = read("docs/app.md")
_ALL = [*commands_of("docs/app.md"), *commands_of("README.md")]
COMMANDS = sorted({command.split("  #")[0] for command in _ALL if command.startswith("icpc app ")})


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return Client(server, verbose=False)


def write(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def segment(client: Client, picture: Path | None, words: str = "", source: str = "decoder") -> dict[str, Any]:
    upload = handle_file(picture) if picture else None
    segmentation, classes, region, status, *_ = client.predict(upload, words, source, api_name="/segment")
    return {"segmentation": segmentation, "classes": classes, "region": region, "status": status}


def assert_alive(client: Client, folder: Path) -> None:
    assert "80 x 60 pixels" in segment(client, write(folder, "good.png", encode(photo(), "PNG")))["status"]


def post(server: str, name: str, content: bytes) -> httpx.Response:
    """Upload a file under any name, which a browser or the client would not send."""
    return httpx.post(f"{server}gradio_api/upload", files={"files": (name, content)}, timeout=30)


def call(server: str, picture: Any) -> str:
    """Ask for a segmentation as a stranger's script would, and return the raw answer."""
    answer = httpx.post(f"{server}gradio_api/call/segment", json={"data": [picture, "", "decoder"]}, timeout=30)
    if answer.is_error:
        return answer.text
    url = f"{server}gradio_api/call/segment/{answer.json()['event_id']}"
    with httpx.stream("GET", url, timeout=30) as stream:
        return "\n".join(stream.iter_lines())


def test_a_picture_is_answered_with_masks_names_times_and_device(client: Client, tmp_path: Path) -> None:
    answer = segment(client, write(tmp_path, "a.png", encode(photo(), "PNG")))
    masks = {annotation["label"]: annotation["image"] for annotation in answer["segmentation"]["value"]["annotations"]}
    assert {label.rsplit(" ", 1)[0] for label in masks} <= set(CLASSES)
    covered = sum((np.asarray(Image.open(path))[..., 3] > 0).astype(int) for path in masks.values())
    assert covered.shape == (60, 80)
    assert covered.max() == 1
    assert covered.mean() > 0.99
    assert Image.open(answer["region"]).size == (80, 60)
    for part in ("by the decoder", "read ", "model ", "labels ", "draw ", " ms", "on CPU"):
        assert part in answer["status"]


def test_other_words_are_the_classes_of_the_answer(client: Client, tmp_path: Path) -> None:
    answer = segment(client, write(tmp_path, "a.png", encode(photo(), "PNG")), "lake, <b>boat</b>")
    labels = {annotation["label"].rsplit(" ", 1)[0] for annotation in answer["segmentation"]["value"]["annotations"]}
    assert labels <= {"lake", "<b>boat</b>"}
    assert "by the alignment A, which takes any class names" in answer["status"]
    with pytest.raises(AppError, match="one class name alone"):
        segment(client, write(tmp_path, "a.png", encode(photo(), "PNG")), "lake")


def test_region_comparison_and_download_belong_to_the_visitor(server: str, tmp_path: Path) -> None:
    visitor, other = Client(server, verbose=False), Client(server, verbose=False)
    segment(visitor, write(tmp_path, "holiday.png", encode(photo(), "PNG")))
    assert Image.open(visitor.predict("tree", api_name="/region")).size == (80, 60)
    (left, right), agreement, legend = visitor.predict(api_name="/compare")
    assert Image.open(left).size == Image.open(right).size == (80, 60)
    assert "% of the pixels" in agreement
    assert any(name in legend for name in CLASSES)
    downloaded = Path(visitor.predict(api_name="/download")["value"])
    assert downloaded.name == "holiday_icpc.zip"
    assert "label.png" in zipfile.ZipFile(downloaded).namelist()

    with pytest.raises(AppError, match="There is no answer yet"):
        other.predict("tree", api_name="/region")
    with pytest.raises(AppError, match="wanted one of the classes: sky, tree, water, car"):
        visitor.predict("unicorn", api_name="/region")


@pytest.mark.parametrize("kind", REFUSED)
def test_bad_uploads_get_a_message(client: Client, tmp_path: Path, kind: str) -> None:
    bad = REFUSED[kind]
    with pytest.raises(AppError, match=bad.says):
        segment(client, write(tmp_path, bad.name, bad.content()))


@pytest.mark.parametrize("kind", ["animated PNG", "CMYK", "16 bits", "ending that lies"])
def test_unusual_uploads_are_answered(client: Client, tmp_path: Path, kind: str) -> None:
    unusual = TAKEN[kind]
    assert "80 x 60 pixels" in segment(client, write(tmp_path, unusual.name, unusual.content()))["status"]


def test_the_page_lives_on_after_bad_uploads(client: Client, tmp_path: Path) -> None:
    for kind in ("text named png", "decompression bomb", "damaged PNG"):
        bad = REFUSED[kind]
        with pytest.raises(AppError):
            segment(client, write(tmp_path, bad.name, bad.content()))
    assert_alive(client, tmp_path)


def test_too_large_a_file_is_refused_while_it_arrives(server: str, client: Client, tmp_path: Path) -> None:
    answer = post(server, "a.png", bytes(LIMITS.bytes + 1))
    assert answer.status_code == 413
    assert f"exceeded maximum allowed size of {LIMITS.bytes} bytes" in answer.text
    assert_alive(client, tmp_path)


@pytest.mark.parametrize("name", TRICKS)
def test_names_with_tricks_write_nothing_elsewhere(server: str, name: str) -> None:
    answer = post(server, name, encode(photo(), "PNG"))
    if answer.is_error:
        return
    (path,) = answer.json()
    assert Path(path).resolve().is_relative_to(Path(os.environ["GRADIO_TEMP_DIR"]).resolve())
    picture = {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
    assert "80 x 60 pixels" in call(server, picture)


def test_files_of_the_machine_are_not_to_be_had(server: str, client: Client, tmp_path: Path) -> None:
    secret = write(tmp_path, "secret.png", encode(photo(), "PNG"))
    inside = Path(os.environ["GRADIO_TEMP_DIR"]) / ".." / tmp_path.relative_to(tmp_path.anchor)
    for path in (secret, "/etc/passwd", inside / "secret.png", f"file://{secret}"):
        for meta in ({}, {"meta": {"_type": "gradio.FileData"}}):
            for kind in ({}, {"is_stream": True}):
                answer = call(server, {"path": str(path), **meta, **kind})
                assert "event: error" in answer
                assert "root:" not in answer
    assert httpx.get(f"{server}gradio_api/file={secret}").status_code in (403, 404)
    assert httpx.get(f"{server}gradio_api/file=/etc/passwd").status_code in (403, 404)
    assert_alive(client, tmp_path)


def test_addresses_are_not_fetched(server: str, client: Client, tmp_path: Path) -> None:
    for address in ("http://example.com/a.png", "https://huggingface.co/a.png", f"{server}theme.css"):
        answer = call(server, {"path": address, "meta": {"_type": "gradio.FileData"}})
        assert "Found an address, wanted is a file" in answer
    assert_alive(client, tmp_path)


@pytest.mark.parametrize(
    "picture", ["a string", 7, [], {"path": None}, {"url": "data:image/png;base64,AAAA"}, {"x": 1}]
)
def test_requests_without_sense_are_errors(server: str, client: Client, tmp_path: Path, picture: Any) -> None:
    answer = call(server, picture)
    assert "event: error" in answer or "80 x 60" not in answer
    assert "Traceback" not in answer
    assert_alive(client, tmp_path)


def test_no_picture_clears_the_page(client: Client) -> None:
    answer = segment(client, None)
    assert (answer["segmentation"], answer["region"]) == (None, None)
    assert "Drop a picture" in answer["status"]


def test_ten_visitors_at_once_are_all_served(server: str, tmp_path: Path) -> None:
    def visit(number: int) -> str:
        content = encode(photo(64, 96 + 32 * number), "PNG")
        return segment(Client(server, verbose=False), write(tmp_path, f"{number}.png", content))["status"]

    with ThreadPoolExecutor(10) as visitors:
        answers = list(visitors.map(visit, range(10)))
    assert [answer.split(" pixels")[0] for answer in answers] == [f"{96 + 32 * n} x 64" for n in range(10)]


def test_the_page_names_no_other_machine_to_load_from(server: str) -> None:
    config = httpx.get(f"{server}config").json()
    assert config["analytics_enabled"] is False
    assert not [sheet for sheet in config["stylesheets"] or [] if "://" in sheet]
    assert "@import" not in httpx.get(f"{server}theme.css").text


def test_a_taken_port_is_a_message(server: str, checkpoint: Path) -> None:
    port = server.rstrip("/").rsplit(":", 1)[1]
    with pytest.raises(SystemExit, match=f"cannot be served on 127.0.0.1, port {port}"):
        app.main(["--weights", str(checkpoint), "--device", "cpu", "--port", port])


def test_bad_arguments_are_messages(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--weights missing.pth: There is no checkpoint"):
        app.main(["--weights", "missing.pth"])
    with pytest.raises(SystemExit, match="found no picture there"):
        app.main(["--weights", str(checkpoint), "--device", "cpu", "--examples", str(tmp_path)])


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_the_documents_commands_serve_until_they_are_interrupted(
    command: str, checkpoint: Path, tmp_path: Path
) -> None:
    """On the loopback address alone, but for --host 0.0.0.0."""
    (tmp_path / "output").mkdir()
    (tmp_path / "output/quickstart").symlink_to(checkpoint.parent)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "icpc_d2", *shlex.split(command, comments=True)[1:], "--device", "cpu", "--port", str(port)]
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        if is_open := "--host 0.0.0.0" in command:
            assert "there is no password" in process.stdout.readline()
        assert re.match(rf"Open http://[\w.]+:{port}/ \(Ctrl\+C ends it\)\n", process.stdout.readline())
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
        listening = [
            local.split(":")
            for local in (row.split()[1] for row in Path("/proc/net/tcp").read_text().splitlines()[1:])
            if int(local.split(":")[1], 16) == port
        ]
        addresses = {address for address, _ in listening}
        assert "00000000" in addresses if is_open else addresses == {"0100007F"}
        process.send_signal(2)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()


@pytest.mark.slow
def test_a_picture_of_640_x_480_takes_less_than_two_seconds(client: Client, tmp_path: Path) -> None:
    picture = write(tmp_path, "a.jpg", encode(photo(480, 640), "JPEG"))
    segment(client, picture)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        segment(client, picture)
        seconds.append(time.perf_counter() - start)
    print(json.dumps(seconds))
    assert min(seconds) < 2


def test_the_documents_script_runs(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = snippet(DOCUMENT, "client")
    write(tmp_path, "picture.png", encode(photo(), "PNG"))
    monkeypatch.chdir(tmp_path)

    names: dict[str, Any] = {}
    exec(script.replace("http://127.0.0.1:7860", server), names)

    assert "80 x 60 pixels" in names["status"]
    assert {label.rsplit(" ", 1)[0] for label in names["masks"]} <= set(CLASSES)
    assert zipfile.is_zipfile(names["archive"])


def test_the_documents_options_are_those_of_the_command_line() -> None:
    defaults = vars(app.parse_args(["--weights", "model.pth"]))
    rows = re.findall(r"^\| `--([\w-]+)[^|]*\| ([\d.]+) \|", DOCUMENT, re.MULTILINE)
    assert {name: float(value) for name, value in rows} == {
        name: defaults[name.replace("-", "_")] for name in ("max-mib", "max-megapixels", "long-side")
    }
