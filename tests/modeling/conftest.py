"""A tiny model with random weights."""

from collections.abc import Callable

import pytest
from detectron2.modeling import build_model
from torch import nn

from tests.support.models import make_cfg


@pytest.fixture
def build_tiny() -> Callable[..., nn.Module]:
    """Build the quickstart's model, changed by config options."""
    return lambda *options: build_model(make_cfg("quickstart/icpc_tiny.yaml", *options))
