"""The web page in a real browser: upload, pick a class, type other names, compare, download; nothing from outside."""

import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.page import CLASSES
from tests.support.strange_images import encode, photo

pytest.importorskip("gradio", reason="the web page needs the extra [demo]")
pytest.importorskip("playwright.sync_api", reason="the browser is driven by Playwright")
from playwright.sync_api import Page, expect, sync_playwright

# Debian's name, and others'. Playwright's own download is not used.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine: apt-get install chromium"),
]
SECONDS = 30_000  # in milliseconds, as Playwright counts
PICTURE = {"name": "holiday.png", "mimeType": "image/png", "buffer": encode(photo(120, 160), "PNG")}


@pytest.fixture(scope="module")
def page(server: str) -> Iterator[Page]:
    """The page, loaded once; every request that leaves the server's address fails the tests."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(SECONDS)
        expect.set_options(timeout=SECONDS)
        requests, errors = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server)
        yield page
        outside = [url for url in requests if not url.startswith((server, "data:", "blob:"))]
        browser.close()
    assert not outside, "the page works without a network"
    assert not errors


def upload(page: Page, file: dict) -> None:
    page.locator("#picture input[type=file]").first.set_input_files(file)


@pytest.fixture
def answered(page: Page) -> Page:
    """The page with an answer for a picture, from the training's classes."""
    clear = page.locator("#picture").get_by_label("Remove Image")
    page.get_by_role("tab", name="Segmentation").click()
    if clear.count():
        clear.click()
        expect(page.locator("#status")).to_contain_text("Drop a picture")
    page.locator("#words").get_by_role("textbox").fill("")
    upload(page, PICTURE)
    expect(page.locator("#status")).to_contain_text("160 x 120 pixels, by the decoder")
    return page


def source_of(page: Page, part: str) -> str:
    return page.locator(f"{part} img").last.get_attribute("src")


def test_an_upload_is_answered_with_a_legend(answered: Page) -> None:
    names = answered.locator("#segmentation .legend-item").all_inner_texts()
    assert names
    assert {name.strip().rsplit(" ", 1)[0] for name in names} <= set(CLASSES)
    masks = answered.locator("#segmentation img.mask")
    assert masks.count() == len(names)
    assert masks.first.evaluate("image => image.naturalWidth") == 160
    expect(answered.locator("#status")).to_contain_text(re.compile(r"read \d+ ms · model \d+ ms .* on CPU"))


def test_pointing_at_a_name_shows_its_class_alone(answered: Page) -> None:
    names = answered.locator("#segmentation .legend-item")
    names.first.hover()
    expect(answered.locator("#segmentation img.mask.active")).to_have_count(1)
    expect(answered.locator("#segmentation img.mask.inactive")).to_have_count(names.count() - 1)


def test_picking_a_class_shows_its_region_map(answered: Page) -> None:
    before = source_of(answered, "#region")
    last = answered.locator("#segmentation .legend-item").last
    name = last.inner_text().strip().rsplit(" ", 1)[0]
    last.click()
    expect(answered.locator("#class input")).to_have_value(re.compile(f"^{name} "))
    if answered.locator("#segmentation .legend-item").count() > 1:
        expect(answered.locator("#region img").last).not_to_have_attribute("src", before)

    before = source_of(answered, "#region")
    other = next(choice for choice in CLASSES if choice != name)
    answered.locator("#class input").click()
    answered.get_by_role("option", name=re.compile(f"^.?.?{other} ")).click()
    expect(answered.locator("#region img").last).not_to_have_attribute("src", before)


def test_other_class_names_can_be_typed(answered: Page) -> None:
    answered.locator("#words").get_by_role("textbox").fill("lake, sailing boat")
    answered.locator("#go").click()
    expect(answered.locator("#status")).to_contain_text("by the alignment A, which takes any class names")
    names = answered.locator("#segmentation .legend-item").all_inner_texts()
    assert {name.strip().rsplit(" ", 1)[0] for name in names} <= {"lake", "sailing boat"}


def test_decoder_and_alignment_are_compared(answered: Page) -> None:
    answered.get_by_role("tab", name="Decoder against A").click()
    answered.locator("#compare").click()
    expect(answered.get_by_text("% of the pixels")).to_be_visible()
    expect(answered.locator("#comparison img")).to_have_count(2)


def test_everything_can_be_downloaded(answered: Page, tmp_path: Path) -> None:
    button = answered.locator("#download")
    expect(button).to_be_enabled()
    with answered.expect_download() as waiting:
        button.click()
    assert waiting.value.suggested_filename == "holiday_icpc.zip"
    waiting.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive, archive.open("label.png") as file:
        assert np.asarray(Image.open(file)).shape == (120, 160)


def test_an_example_is_answered(page: Page) -> None:
    page.get_by_role("tab", name="Segmentation").click()
    page.locator(".gallery-item").first.click()
    expect(page.locator("#status")).to_contain_text("624 x 480 pixels")


def test_a_bad_upload_has_a_message_and_clears_the_answer(answered: Page) -> None:
    answered.locator("#picture").get_by_label("Remove Image").click()
    expect(answered.locator("#status")).to_contain_text("Drop a picture")
    upload(answered, {"name": "<b>notes</b>.png", "mimeType": "image/png", "buffer": b"not a picture"})
    message = answered.get_by_text("is not a picture that can be read")
    expect(message).to_be_visible()
    expect(answered.locator("#segmentation .legend-item")).to_have_count(0)
    upload(answered, PICTURE)
    expect(answered.locator("#status")).to_contain_text("160 x 120 pixels")
