"""Connected regions of a label map, for programs that want boxes."""

from typing import Any

import numpy as np

# A region that is smaller than this share of the image is left out, and counted.
MIN_SHARE = 0.0005


def connected_regions(labels: np.ndarray, classes: list[int]) -> list[dict[str, Any]]:
    """List the classes with their shares and the boxes of their connected regions.

    Args:
        labels: (H, W) integers.
        classes: which ones, in this order; negative ones, which stand for ignored pixels, are left out.

    Returns:
        A dict each: "id"; "share" of all pixels in [0, 1]; "regions", the largest first, with "box" [left, top, width,
        height] and "area" in pixels, pixels that touch by an edge or a corner being connected; "small_regions", how
        many covered less than :data:`MIN_SHARE` of the image and are left out.
    """
    import cv2  # loaded when boxes are asked for, not with the package

    found = []
    for index in (index for index in classes if index >= 0):
        mask = (labels == index).astype(np.uint8)
        _, _, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        regions = statistics[1:]  # the first one is what lies around them
        # Of equal area, from the top down and from the left: OpenCV's own order is no one's business.
        order = (cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP)
        regions = regions[np.lexsort((*regions[:, order].T, -regions[:, cv2.CC_STAT_AREA]))]
        large = regions[regions[:, cv2.CC_STAT_AREA] >= MIN_SHARE * labels.size]
        found.append(
            {
                "id": index,
                "share": round(float(mask.mean()), 6),
                "regions": [{"box": region[:4].tolist(), "area": int(region[4])} for region in large],
                "small_regions": len(regions) - len(large),
            }
        )
    return found
