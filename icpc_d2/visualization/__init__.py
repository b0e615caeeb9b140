"""What draws: colours of classes, label maps in colour, pictures side by side with a legend, overlays."""

from icpc_d2.visualization.comparison import comparison
from icpc_d2.visualization.overlay import blend, overlay
from icpc_d2.visualization.palette import Palette
from icpc_d2.visualization.sheet import draw_sheet

__all__ = ["Palette", "blend", "comparison", "draw_sheet", "overlay"]
