"""Files that people, and those who mean harm, send in place of a picture: each with what must be said of it."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin


class Strange(NamedTuple):
    """A file, and what its message or the note on it says (a regular expression)."""

    name: str
    content: Callable[[], bytes]
    says: str


def photo(height: int = 60, width: int = 80) -> Image.Image:
    """Smooth colours with some noise, the same ones every time."""
    rows, columns = np.mgrid[:height, :width]
    smooth = np.stack([rows * 255 / height, columns * 255 / width, (rows + columns) % 256], axis=2)
    noise = np.random.default_rng(0).integers(0, 20, smooth.shape)
    return Image.fromarray((smooth * 0.9 + noise).clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def claim_size(width: int, height: int) -> bytes:
    """A PNG whose header speaks of another size than its pixels have."""
    png = encode(photo(), "PNG")
    header = struct.pack(">II", width, height) + png[24:29]
    return png[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + png[33:]


def damage(content: bytes, start: int) -> bytes:
    return content[:start] + bytes(255 - byte for byte in content[start : start + 40]) + content[start + 40 :]


def text_bomb() -> bytes:
    """A PNG with 20 MiB of blanks in its comment."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", " " * (20 * 2**20), zip=True)
    return encode(photo(), "PNG", pnginfo=info)


def zip_file() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("picture.png", encode(photo(), "PNG"))
    return buffer.getvalue()


def gif_bomb() -> bytes:
    """A small GIF on a screen of 65,535 x 65,535."""
    gif = encode(photo(), "GIF")
    return gif[:6] + b"\xff" * 4 + gif[10:]


def animation(kind: str) -> bytes:
    frames = [photo(), photo().rotate(180)]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:])


def turned() -> bytes:
    """Stored lying on its side, with the tag that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(photo().rotate(90, expand=True), "JPEG", exif=exif, quality=95)


def sixteen_bits() -> bytes:
    return encode(Image.fromarray(np.asarray(photo().convert("L")).astype(np.uint16) * 257), "PNG")


def transparent() -> bytes:
    image = photo()
    image.putalpha(128)
    return encode(image, "PNG")


NO_PICTURE = "is not a picture that can be read; wanted is a picture: JPEG"
BROKEN = "is broken or cut off"
REFUSED = {
    "empty": Strange("a.png", lambda: b"", "a.png is empty"),
    "text named png": Strange("notes.png", lambda: b"not a picture\n" * 20, f"notes.png {NO_PICTURE}"),
    "page named jpg": Strange("a.jpg", lambda: b"<html><script>alert(1)</script></html>", NO_PICTURE),
    "drawing with a script": Strange(
        "a.svg", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', NO_PICTURE
    ),
    "zip file": Strange("a.png", zip_file, NO_PICTURE),
    "document": Strange("a.png", lambda: b"%PDF-1.7\n%\xe2\xe3\n1 0 obj\n", NO_PICTURE),
    "PostScript": Strange("a.png", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NO_PICTURE),
    "noise": Strange("a.jpg", lambda: np.random.default_rng(0).bytes(4000), NO_PICTURE),
    "icon, a format that is not taken": Strange("a.ico", lambda: encode(photo(), "ICO"), NO_PICTURE),
    "1 x 1": Strange("a.png", lambda: encode(photo(1, 1), "PNG"), "has 1 x 1 pixels; each side must have at least 16"),
    "20,000 x 10": Strange("a.png", lambda: encode(Image.new("L", (20000, 10)), "PNG"), "20000 x 10 pixels; each side"),
    "narrow": Strange("a.png", lambda: encode(Image.new("L", (2000, 20)), "PNG"), "at most 16 times the short"),
    "no pixels": Strange("a.png", lambda: claim_size(0, 0), f"{NO_PICTURE}|{BROKEN}|has 0 x 0"),
    "decompression bomb": Strange("a.png", lambda: claim_size(100_000, 100_000), "unpacks to far too many pixels"),
    "64 million white pixels": Strange(
        "a.png", lambda: encode(Image.new("1", (8000, 8000), 1), "PNG"), "8000 x 8000 = 64 million pixels; at most 50"
    ),
    "GIF bomb": Strange("a.gif", gif_bomb, "unpacks to far too many pixels"),
    "comment bomb": Strange("a.png", text_bomb, BROKEN),
    "cut off JPEG": Strange("a.jpg", lambda: half(encode(photo(400, 400), "JPEG")), BROKEN),
    "cut off PNG": Strange("a.png", lambda: half(encode(photo(400, 400), "PNG")), BROKEN),
    "cut off WebP": Strange("a.webp", lambda: half(encode(photo(400, 400), "WEBP")), f"{BROKEN}|{NO_PICTURE}"),
    "cut off TIFF": Strange("a.tif", lambda: half(encode(photo(400, 400), "TIFF")), f"{BROKEN}|{NO_PICTURE}"),
    "damaged PNG": Strange("a.png", lambda: damage(encode(photo(400, 400), "PNG"), 200), BROKEN),
    "floating-point": Strange("a.tif", lambda: encode(photo().convert("F"), "TIFF"), "floating-point pixels"),
}
TAKEN = {
    "animated GIF": Strange("a.gif", lambda: animation("GIF"), "Of several frames the first"),
    "animated PNG": Strange("a.png", lambda: animation("PNG"), "Of several frames the first"),
    "animated WebP": Strange("a.webp", lambda: animation("WEBP"), "Of several frames the first"),
    "TIFF of two pages": Strange("a.tif", lambda: animation("TIFF"), "Of several frames the first"),
    "CMYK": Strange("a.jpg", lambda: encode(photo().convert("CMYK"), "JPEG", quality=95), "Converted from CMYK"),
    "16 bits": Strange("a.png", sixteen_bits, "Of 16 bits per pixel"),
    "turned": Strange("a.jpg", turned, "^$"),
    "transparent": Strange("a.png", transparent, "^$"),
    "palette": Strange("a.png", lambda: encode(photo().convert("P", palette=Image.Palette.ADAPTIVE), "PNG"), "^$"),
    "one bit": Strange("a.png", lambda: encode(photo().convert("1"), "PNG"), "^$"),
    "ending that lies": Strange("a.png", lambda: encode(photo(), "JPEG", quality=95), "^$"),
    "no ending": Strange("a", lambda: encode(photo(), "PNG"), "^$"),
}
TRICKS = {
    "../../../etc/passwd.png": "passwd.png",
    "..\\..\\windows\\system.ini.png": "system.ini.png",
    "/etc/shadow": "shadow",
    "C:\\Users\\me\\holiday.jpg": "holiday.jpg",
    "a\x00b\n.png": "a_b.png",
    "<img src=x onerror=alert(1)>.png": "img src_x onerror_alert_1.png",
    "..": "picture",
    "": "picture",
    ".png": "picture.png",
    "x" * 500 + ".png": "x" * 60 + ".png",
    "Überraschung 1.jpg": "Überraschung 1.jpg",
    "$(reboot);`id`|.png": "reboot_id.png",
}
