"""What draws: colours of classes, label maps in colour, pictures side by side with a legend."""

from icpc_d2.visualization.comparison import comparison
from icpc_d2.visualization.palette import Palette

__all__ = ["Palette", "comparison"]
