"""Logs that a training in the tests' own process takes, which other tests listen to."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from detectron2.utils import logger as detectron2_logger


@contextmanager
def logs_restored() -> Iterator[None]:
    """Close afterwards what a training has opened, and let messages through to pytest again."""
    try:
        yield
    finally:
        for name in ("icpc_d2", "detectron2", "fvcore"):
            logger = logging.getLogger(name)
            for handler in list(logger.handlers):
                logger.removeHandler(handler)
                handler.close()
            logger.propagate = True
            logger.setLevel(logging.NOTSET)
        detectron2_logger.setup_logger.cache_clear()
        detectron2_logger._cached_log_stream.cache_clear()
