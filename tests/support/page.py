"""What the web page of the tests shows, and takes."""

from icpc_d2.tools.app.uploads import Limits

CLASSES = ["sky", "tree", "water", "car"]
LIMITS = Limits(bytes=3 * 2**20)
