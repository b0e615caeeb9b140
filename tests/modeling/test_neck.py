"""The neck against Detectron2's own FPN on concatenated maps."""

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone import FPN

from icpc_d2.modeling.neck import AlignedFPN
from tests.support.models import Given

SHAPES = {f"res{i + 2}": ShapeSpec(channels=6 + i, stride=4 * 2**i) for i in range(4)}


def test_is_detectron2s_fpn_on_concatenated_maps() -> None:
    """With score maps at the two coarse levels alone."""
    neck = AlignedFPN(SHAPES, ("res4", "res5"), 5, out_channels=8)
    features = {name: torch.randn(2, s.channels, 128 // s.stride, 64 // s.stride) for name, s in SHAPES.items()}
    scores = {name: torch.randn(2, 5, *features[name].shape[2:]) for name in ("res5", "res4")}
    joined = {
        name: torch.cat([features[name], scores[name]], dim=1) if name in scores else features[name] for name in SHAPES
    }
    shapes = {name: ShapeSpec(channels=x.shape[1], stride=SHAPES[name].stride) for name, x in joined.items()}
    fpn = FPN(Given(shapes), list(SHAPES), 8)
    fpn.load_state_dict({name.replace(".conv.", "."): value for name, value in neck.state_dict().items()})
    wanted, found = fpn(joined), neck((features, scores))
    assert list(found) == list(wanted) == ["p2", "p3", "p4", "p5"]
    for name in wanted:
        assert torch.equal(found[name], wanted[name])
