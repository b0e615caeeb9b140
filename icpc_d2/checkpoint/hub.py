"""Files of the Hugging Face hub by its own library: its cache, offline mode, mirror, lock and time-outs are those."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from icpc_d2.checkpoint.download import sha256_of

logger = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")


def in_hub_cache(repository: str, files: Sequence[str], revision: str | None = None) -> str | None:
    """Return the first of the files that the hub's cache has whole."""
    for name in files:
        file = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(file, str):
            if _is_whole(file):
                return file
            logger.warning(f"{file} has another hash than its name on the hub says: it is fetched again.")
            _remove(file)
    return None


def from_hub(repository: str, files: Sequence[str], revision: str | None = None) -> str:
    """Fetch the first of the files that a repository has; the hub's own cache locks, and renames what is whole.

    Raises:
        OSError: there is none, or it cannot be fetched.
    """
    absent = OSError()
    for name in files:
        try:
            # A short look first: the download itself tries for minutes to reach a server that says nothing.
            url = hf_hub_url(repository, name, revision=revision)
            get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            file = hf_hub_download(repository, name, revision=revision)
        except LocalEntryNotFoundError as error:
            raise OSError(f"{constants.ENDPOINT}/{repository}: {_short(error)}") from error
        except EntryNotFoundError as error:
            absent = error
            continue
        except Exception as error:  # the hub's, and those of the HTTP library beneath it, which changed with time
            raise OSError(f"{constants.ENDPOINT}/{repository}: {_short(error)}") from error
        if not _is_whole(file):
            _remove(file)
            raise OSError(f"{constants.ENDPOINT}/{repository}: {name} has another hash than the hub says")
        return file
    raise OSError(f"{constants.ENDPOINT}/{repository} has no {' or '.join(files)}") from absent


def _is_whole(file: str) -> bool:
    """Compare a file of the hub's cache with its hash, by which the cache calls large files."""
    name = os.path.basename(os.path.realpath(file))
    return not _SHA256.fullmatch(name) or sha256_of(file) == name


def _remove(file: str) -> None:
    for path in {os.path.realpath(file), file}:
        Path(path).unlink(missing_ok=True)


def _short(error: Exception) -> str:
    text = next((line for line in str(error).splitlines() if line.strip()), "") or type(error).__name__
    return text.strip().rstrip(".")[:160]


def hub_advice(repository: str, file: str) -> str:
    """Say how a file of the hub comes to a machine without a connection."""
    folder = f"models--{repository.replace('/', '--')}"
    return (
        f"On a machine with a connection: hf download {repository} {file} ; then copy {folder} from its "
        f"~/.cache/huggingface/hub to {constants.HF_HUB_CACHE}"
    )
