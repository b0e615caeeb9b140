"""Every config: with a tiny network it trains and predicts, and it says nothing that its fragments say already."""

import pytest
import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model

import icpc_d2  # noqa: F401  registers the models
from icpc_d2.config import add_icpc_config
from icpc_d2.config.load import leaves
from icpc_d2.config.resolve import resolve_norms
from icpc_d2.engine.ranges import check_ranges
from icpc_d2.engine.setup import resolve_classes
from icpc_d2.engine.solver import build_optimizer
from icpc_d2.evaluation.label_maps import as_evaluated
from tests.support.configs import CONFIGS, PUBLISHED_FOLDERS, RUNNABLE, read
from tests.support.models import make_batch

CLASSES = 9
TINY = {
    "MODEL.DEVICE": "cpu",
    "MODEL.CONTEXT_DECODER.WIDTH": 16,
    "MODEL.CONTEXT_DECODER.NUM_HEADS": 2,
    "MODEL.CONTEXT_DECODER.NUM_LAYERS": 1,
    "MODEL.FPN.OUT_CHANNELS": 8,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 8,
    "MODEL.CLIP.IMAGE_SIZE": 64,
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
    "TEST.SLIDING_WINDOW.SIZE": 64,
    "TEST.SLIDING_WINDOW.STRIDE": 43,
}


def make_tiny(cfg: CfgNode) -> None:
    """The same method with the smallest networks of its kind, for some of the classes of its data set."""
    vit = "vit" in (cfg.MODEL.BACKBONE.NAME + cfg.MODEL.FPN.BOTTOM_UP)
    cfg.merge_from_list([word for pair in TINY.items() for word in pair])
    cfg.MODEL.CLIP.ARCH = "tiny-ViT" if vit else "tiny-RN"
    cfg.MODEL.CLIP.VIT_BLOCKS = [0, 1, 2, 3]
    resolve_norms(cfg, num_processes=1)
    resolve_classes(cfg)
    cfg.MODEL.CLASS_NAMES = cfg.MODEL.CLASS_NAMES[:CLASSES]
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = CLASSES


# What changes neither the network nor how it is trained and evaluated: numbers and names that go in, and files.
ONLY_VALUES = (
    "MODEL.WEIGHTS",
    "MODEL.TEXT_ENCODER.WEIGHTS",
    "MODEL.CLASS_NAMES",
    "MODEL.PIXEL_MEAN",
    "MODEL.PIXEL_STD",
    "MODEL.SEM_SEG_HEAD.IGNORE_VALUE",
    "TEST.CROSS_DOMAIN.SHARED_CLASSES",
    "TEST.EVAL_PERIOD",
    "TEST.SEM_SEG.NUM_PICTURES",
)


def group_by_network() -> dict[str, list[str]]:
    """Configs whose tiny forms have the same `MODEL` and `TEST` but for values, by the first one of each group.

    Of the weight of a loss, it matters whether it is above 0.
    """
    groups: dict[str, list[str]] = {}
    for name in RUNNABLE:
        cfg = read(name)
        make_tiny(cfg)
        keys = {
            key: value for key, value in leaves(cfg) if key.startswith(("MODEL.", "TEST.")) and key not in ONLY_VALUES
        }
        same = str({key: value > 0 if key.endswith("LOSS_WEIGHT") else value for key, value in keys.items()})
        groups.setdefault(same, []).append(name)
    return {group[0]: group for group in groups.values()}


NETWORKS = group_by_network()


def test_every_config_is_in_range_and_its_network_trained() -> None:
    for name in RUNNABLE:
        check_ranges(read(name))
    assert sorted(name for group in NETWORKS.values() for name in group) == RUNNABLE


@pytest.mark.parametrize("name", NETWORKS)
def test_config_trains_a_step_and_predicts(name: str) -> None:
    cfg = read(name)
    make_tiny(cfg)
    model = build_model(cfg)
    optimizer = build_optimizer(cfg, model)
    losses = model(make_batch((64, 64), (64, 64), num_classes=CLASSES))
    contrastive = cfg.MODEL.META_ARCHITECTURE == "ICPC" and cfg.MODEL.CONTRASTIVE.LOSS_WEIGHT > 0
    assert ("loss_contrast" in losses) == contrastive
    sum(losses.values()).backward()
    before = [parameter.clone() for parameter in model.parameters() if parameter.requires_grad]
    optimizer.step()
    after = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.isfinite().all() for parameter in after)
    assert sum(not torch.equal(old, new) for old, new in zip(before, after, strict=True)) > len(after) / 2

    cfg.TEST.CROSS_DOMAIN.SHARED_CLASSES = []
    evaluated = as_evaluated(cfg, model).eval()
    inputs = {"image": torch.randint(256, (3, 70, 97), dtype=torch.uint8), "height": 50, "width": 71}
    with torch.no_grad():
        (answer,) = evaluated([inputs])
    assert answer["labels"].shape == (50, 71)
    assert 0 <= answer["labels"].min() <= answer["labels"].max() < CLASSES


def test_a_leaf_states_only_what_its_row_changes() -> None:
    repeated = {}
    for name in RUNNABLE:
        content = yaml.safe_load((CONFIGS / name).read_text())
        bases = content.pop("_BASE_")
        cfg = get_cfg()
        add_icpc_config(cfg)
        for base in [bases] if isinstance(bases, str) else bases:
            cfg.merge_from_other_cfg(CfgNode(CfgNode.load_yaml_with_base(str((CONFIGS / name).parent / base))))
        said = dict(leaves(cfg))
        repeated[name] = [key for key, value in leaves(content) if said[key] == value]
    assert {name: keys for name, keys in repeated.items() if keys} == {}


def test_results_go_where_the_config_is_called() -> None:
    folders = {name: read(name).OUTPUT_DIR for name in RUNNABLE}
    assert all(folder.startswith("output/") for folder in folders.values())
    published = {name: folder for name, folder in folders.items() if name.startswith(PUBLISHED_FOLDERS)}
    assert published == {name: f"output/{name.removesuffix('.yaml')}" for name in published}


# (prompt, weight of the contrastive loss, its sampling and points, multi-scale alignment, what predicts)
DENSECLIP = ("coop", 0.0, "easy_to_hard", 5, False, "decoder")
ICPC = ("icpc", 0.5, "easy_to_hard", 5, True, "decoder")
ROWS = {
    "denseclip_R50": DENSECLIP,
    "icpc_R50": ICPC,
    "denseclip_imagenet_R101": DENSECLIP,
    "icpc_imagenet_R50": ICPC,
    "ablations/prompt_template": ("template", *DENSECLIP[1:]),
    "ablations/prompt_instance": ("instance", *DENSECLIP[1:]),
    "ablations/prompt_cocoop": ("cocoop", *DENSECLIP[1:]),
    "ablations/prompt_icpc": ("icpc", *DENSECLIP[1:]),
    "ablations/contrastive": ("coop", 0.5, "easy_to_hard", 5, False, "decoder"),
    "ablations/contrastive_random": ("coop", 0.5, "random", 5, False, "decoder"),
    "ablations/contrastive_2_points": ("coop", 0.5, "easy_to_hard", 2, False, "decoder"),
    "ablations/contrastive_10_points": ("coop", 0.5, "easy_to_hard", 10, False, "decoder"),
    "ablations/contrastive_50_points": ("coop", 0.5, "easy_to_hard", 50, False, "decoder"),
    "ablations/gamma_0.1": ("icpc", 0.1, *ICPC[2:]),
    "ablations/gamma_1.0": ("icpc", 1.0, *ICPC[2:]),
    "ablations/multi_scale": ("coop", 0.0, "easy_to_hard", 5, True, "decoder"),
    "ablations/without_contrastive": ("icpc", 0.0, *ICPC[2:]),
    "ablations/without_instance": ("coop", *ICPC[1:]),
    "ablations/without_multi_scale": ("icpc", 0.5, "easy_to_hard", 5, False, "decoder"),
    "ablations/denseclip_from_alignment": (*DENSECLIP[:5], "alignment"),
    "ablations/icpc_from_alignment": (*ICPC[:5], "alignment"),
}


def test_rows_are_all_ablations() -> None:
    found = {name.removesuffix(".yaml") for name in RUNNABLE if name.startswith("ade20k/ablations/")}
    assert found == {f"ade20k/{name}" for name in ROWS if name.startswith("ablations/")}


def test_a_row_is_what_its_table_says() -> None:
    found = {}
    for name in ROWS:
        model = read(f"ade20k/{name}.yaml").MODEL
        contrastive, alignment = model.CONTRASTIVE, model.ALIGNMENT
        contrast = (contrastive.LOSS_WEIGHT, contrastive.SAMPLING, contrastive.NUM_POINTS)
        found[name] = (model.PROMPT.NAME, *contrast, alignment.MULTI_SCALE, model.PREDICT_FROM)
        assert (model.PROMPT.NUM_CONTEXT, contrastive.TEMPERATURE, alignment.LOSS_WEIGHT) == (8, 0.1, 0.4), name
    assert found == ROWS


def test_the_papers_rows_have_denseclips_values_and_the_tiny_models_keep_theirs() -> None:
    found = {}
    for name in RUNNABLE:
        cfg = read(name)
        starts = (cfg.MODEL.PROMPT.CONTEXT_INIT, cfg.MODEL.DECODER_INIT)
        found[name] = (*starts, cfg.INPUT.RESIZE, cfg.TEST.PAD_TO_STRIDE, cfg.INPUT.MAX_SIZE_TRAIN)
        has_fpn = cfg.MODEL.BACKBONE.NAME == "build_fpn_backbone"
        if "clip_resnet" in (cfg.MODEL.FPN.BOTTOM_UP if has_fpn else cfg.MODEL.BACKBONE.NAME):
            found[name] += (cfg.MODEL.CLIP.RESNET_NORM,)
        assert cfg.INPUT.MAX_SIZE_TEST == cfg.INPUT.MAX_SIZE_TRAIN
    published = {values for name, values in found.items() if name.startswith(PUBLISHED_FOLDERS)}
    denseclip = ("denseclip", "denseclip", "opencv", False, 2048)
    assert published == {denseclip, (*denseclip, "SyncBN")}
    tiny = {values for name, values in found.items() if not name.startswith(PUBLISHED_FOLDERS)}
    assert tiny == {("coop", "detectron2", "pillow", True, 2048, "BN")}


def test_the_rows_in_miniature_are_the_papers() -> None:
    """What the same name has on ADE20K, and the losses of all on the coarsest map, which DenseCLIP has, too."""
    names = {name.removeprefix("miniature/") for name in RUNNABLE if name.startswith("miniature/")}
    published = {f"{name.rpartition('/')[2].removesuffix('_R50')}.yaml": name for name in ROWS if "R101" not in name}
    published["icpc_random_image.yaml"] = "icpc_R50"
    published["denseclip_random_image.yaml"] = "denseclip_R50"
    del published["icpc_imagenet.yaml"]
    assert published.keys() <= names
    for name, row in published.items():
        model = read(f"miniature/{name}").MODEL
        contrastive, alignment = model.CONTRASTIVE, model.ALIGNMENT
        contrast = (contrastive.LOSS_WEIGHT, contrastive.SAMPLING, contrastive.NUM_POINTS)
        assert (model.PROMPT.NAME, *contrast, alignment.MULTI_SCALE, model.PREDICT_FROM) == ROWS[row], name
        assert (contrastive.TEMPERATURE, alignment.LOSS_WEIGHT, alignment.LOSS_SCALES) == (0.1, 0.4, []), name


def test_the_rows_in_miniature_differ_in_what_their_tables_say_alone() -> None:
    """None is trained longer, on larger crops or at another rate; but random image encoders learn at the full one."""
    names = [name for name in RUNNABLE if name.startswith("miniature/") and "camvid" not in name]
    recipes = {}
    for name in names:
        cfg = read(name)
        is_random = not cfg.MODEL.WEIGHTS or "semantic_fpn" in cfg.MODEL.WEIGHTS
        assert (cfg.SOLVER.BACKBONE_MULTIPLIER == 1.0) is is_random, name
        cfg.defrost()
        cfg.SOLVER.BACKBONE_MULTIPLIER = 0.0
        recipes.setdefault(f"{cfg.SOLVER}{cfg.INPUT}{cfg.MODEL.FPN.OUT_CHANNELS}{cfg.SEED}", []).append(name)
    assert len(recipes) == 1
    random, pretrained = (dict(leaves(read(f"miniature/{name}.yaml"))) for name in ("semantic_fpn", "clip_fpn"))
    differing = {key for key in random if random[key] != pretrained[key]}
    assert differing == {"MODEL.WEIGHTS", "SOLVER.BACKBONE_MULTIPLIER", "OUTPUT_DIR"}
    assert (random["MODEL.WEIGHTS"], pretrained["MODEL.WEIGHTS"]) == ("", "clip://tiny-RN")
