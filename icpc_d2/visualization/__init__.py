"""Drawings: colours of classes, label maps in colour, images side by side with a legend, overlays, and plots."""

from icpc_d2.visualization.overlay import blend, overlay
from icpc_d2.visualization.palette import Palette
from icpc_d2.visualization.sheet import comparison, draw_sheet

__all__ = ["Palette", "blend", "comparison", "draw_sheet", "overlay"]
