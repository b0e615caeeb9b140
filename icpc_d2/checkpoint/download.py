"""Files of the network in a cache: whole or not there, recognised by their hash, fetched by one process at a time."""

import hashlib
import logging
import shutil
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from filelock import FileLock

from icpc_d2.files import TEMPORARY, atomically

logger = logging.getLogger(__name__)

TIMEOUT = 30.0  # seconds that a server may be silent


def sha256_of(file: str | Path) -> str:
    """Return a file's SHA-256 in hexadecimal; a file that was read before and has not changed is not read again."""
    found = Path(file).stat()
    return _sha256(str(file), found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(file: str, size: int, modified: int) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def has_hash(file: Path, sha256: str) -> bool:
    """Return whether there is such a file, and its SHA-256 begins so."""
    return file.is_file() and sha256_of(file).startswith(sha256)


def download(url: str, target: Path, sha256: str) -> Path:
    """Return `target`, which is fetched where it is not there or has another hash.

    Processes and machines that share the folder wait for the one that fetches; the others then find the file.

    Args:
        sha256: in hexadecimal, or its first digits.

    Raises:
        OSError: it cannot be fetched, breaks off, the server falls silent, or it is another file than wanted.
    """
    if has_hash(target, sha256):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f"{target.name}.lock")):
        if not has_hash(target, sha256):
            for leftover in target.parent.glob(f"{TEMPORARY}*-{target.name}"):
                leftover.unlink(missing_ok=True)  # of a process that was killed: who holds the lock writes alone
            with atomically(target) as temporary:
                _fetch(url, temporary, sha256)
    return target


def _fetch(url: str, file: Path, sha256: str) -> None:
    logger.info(f"Downloading {url}")
    try:
        with urlopen(url, timeout=TIMEOUT) as answer, file.open("wb") as content:
            shutil.copyfileobj(answer, content)
            announced, kind = answer.headers.get("Content-Length"), answer.headers.get_content_type()
            size = content.tell()
    except TimeoutError as error:
        raise OSError(f"{url}: the server was silent for {TIMEOUT:g} s") from error
    except (OSError, HTTPException, ValueError) as error:
        raise OSError(f"{url}: {error}") from error
    if announced and int(announced) != size:
        raise OSError(f"{url}: it broke off after {size} of {announced} bytes")
    if not (found := sha256_of(file)).startswith(sha256):
        page = ", a web page, as proxies and log-ins send it" if kind == "text/html" else ""
        raise OSError(f"{url} is another file than wanted{page}: its SHA-256 is {found[:12]}..., not {sha256[:12]}...")
