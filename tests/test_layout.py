"""Who may import whom, where the config stops, and that each of its keys is read; found in the source alone."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from detectron2.config import get_cfg
from detectron2.projects import deeplab

from icpc_d2.config import add_icpc_config
from icpc_d2.config.load import leaves

ROOT = Path(__file__).parents[1]
SOURCES = [*sorted((ROOT / "icpc_d2").rglob("*.py")), ROOT / "train_net.py"]
TREES = {path.relative_to(ROOT).with_suffix("").as_posix(): ast.parse(path.read_text()) for path in SOURCES}

# Room -> the other rooms of icpc_d2 that it may import.
MAY_IMPORT = {
    "install_detectron2": set(),
    "files": set(),
    "config": set(),
    "modeling": set(),
    "visualization": set(),
    "data": {"files"},
    "checkpoint": {"files"},
    "analysis": {"config", "data", "modeling"},
    "evaluation": {"data", "modeling", "visualization", "files"},
    "inference": {"config", "data", "modeling", "checkpoint", "visualization", "files"},
    "engine": {"config", "data", "modeling", "checkpoint", "evaluation", "visualization", "files", "analysis"},
}
# Of `analysis`, what a training uses.
ENGINE_MAY_ANALYSE = {"icpc_d2/analysis/macs", "icpc_d2/analysis/memory"}
# Where a config may be in hand. Elsewhere only what Detectron2 constructs by its name in the config reads one:
# a `from_config`, or a function or class decorated with a registry's `register` or with `configurable`.
CFG_LIVES_IN = (
    "icpc_d2/config/",
    "icpc_d2/modeling/build",
    "icpc_d2/modeling/class_names",
    "icpc_d2/modeling/class_weights",
    "icpc_d2/data/dataset_mapper",
    "icpc_d2/evaluation/evaluators",
    "icpc_d2/evaluation/label_maps",
    "icpc_d2/inference/predictor",
    "icpc_d2/inference/export/",
    "icpc_d2/analysis/",
    "icpc_d2/engine/",
    "icpc_d2/tools/",
    "train_net",
)
# On the way from an image to A and the losses, as the paper has it.
PLAIN_PAGES = (
    "meta_arch",
    "alignment",
    "neck",
    "labels",
    "semantic_fpn_head",
    *(f"backbone/{name}" for name in ("attention_pool", "clip_resnet", "clip_vit", "pooled_resnet")),
    *(f"text/{name}" for name in ("class_tokens", "context_decoder", "prompts", "text_encoder")),
    *(f"losses/{name}" for name in ("alignment_loss", "contrastive", "pixel", "sampling")),
)


def imported_modules(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the modules of icpc_d2 that `tree` imports, as "icpc_d2/data/datasets"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{package}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for parts in (name.split(".") for name in names if name.split(".")[0] == "icpc_d2"):
            module = "/".join(parts)
            for candidate in (module, f"{module}/__init__", "/".join(parts[:-1]), "/".join([*parts[:-1], "__init__"])):
                if candidate in TREES:
                    yield candidate
                    break


IMPORTS = {module: set(imported_modules(tree, module)) for module, tree in TREES.items()}


def room_of(module: str) -> str:
    return module.split("/")[1] if "/" in module else module


def command_of(module: str) -> str:
    """The command that a module of tools/ belongs to; "" elsewhere."""
    parts = module.split("/")
    return parts[2] if parts[1:2] == ["tools"] and len(parts) > 2 else ""


def test_rooms_are_all_listed() -> None:
    assert {room_of(module) for module in TREES} - {"train_net", "__init__", "__main__", "tools"} == {*MAY_IMPORT}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_go_in_one_direction(room: str) -> None:
    found = {
        room_of(imported) for module, modules in IMPORTS.items() if room_of(module) == room for imported in modules
    }
    assert found - {room} <= MAY_IMPORT[room]


def test_a_training_analyses_macs_and_memory_alone() -> None:
    engine = set().union(*(modules for module, modules in IMPORTS.items() if room_of(module) == "engine"))
    assert {module for module in engine if room_of(module) == "analysis"} <= ENGINE_MAY_ANALYSE


def test_the_plain_model_knows_nothing_of_the_fast_one() -> None:
    fast = "icpc_d2/modeling/fast/"
    users = {
        module
        for module, modules in IMPORTS.items()
        if module.startswith("icpc_d2/modeling/") and not module.startswith(fast)
        if any(imported.startswith(fast) for imported in modules)
    }
    assert users == {"icpc_d2/modeling/build"}


def test_commands_import_no_other_command_and_nobody_imports_commands() -> None:
    found = {
        (module, imported)
        for module, modules in IMPORTS.items()
        for imported in modules
        if command_of(imported) not in ("", "__init__", command_of(module))
    }
    # The former name of a command, and the program that Detectron2's projects have.
    allowed = {("icpc_d2/tools/demo", "icpc_d2/tools/predict/command")}
    assert found <= allowed


@pytest.mark.parametrize("page", PLAIN_PAGES)
def test_pages_of_the_plain_model_are_short(page: str) -> None:
    assert len((ROOT / f"icpc_d2/modeling/{page}.py").read_text().splitlines()) < 120


def test_no_file_is_longer_than_one_idea() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in SOURCES}
    # Copied to machines that have nothing else of ours.
    assert lengths.pop("icpc_d2/inference/onnx_predictor.py") <= 370
    assert {name: length for name, length in lengths.items() if length > 250} == {}


def test_public_names_have_one_meaning() -> None:
    homes: dict[str, list[str]] = {}
    for module, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    # Of each command.
    for name in ("main", "parse_args"):
        homes.pop(name, None)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def test_docstrings_say_what_is_done() -> None:
    """They begin with a verb, and a module's, a class's or a property's with what it is, but with no riddle."""
    found = []
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                first = (ast.get_docstring(node) or "Is").split()[0].rstrip(",;:.")
                name = f"{module}: {getattr(node, 'name', '')}: {first}"
                properties = {ast.unparse(decorator) for decorator in getattr(node, "decorator_list", [])}
                if first == "What":
                    found.append(name)
                elif (
                    isinstance(node, ast.FunctionDef)
                    and not node.name.startswith("__")
                    and not properties & {"property", "cached_property", "functools.cached_property"}
                ):
                    is_verb = first.isalpha() and first.istitle() and first not in ("A", "An", "The", "As", "How", "In")
                    if not is_verb:
                        found.append(name)
    assert found == []


def test_no_import_circles() -> None:
    TopologicalSorter(IMPORTS).prepare()  # raises CycleError, which names the circle


def test_config_imports_nothing_but_detectron2_config() -> None:
    imports = [node for node in TREES["icpc_d2/config/keys"].body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["from detectron2.config import CfgNode as CN"]


def may_hold_cfg(node: ast.AST) -> bool:
    names = " ".join(ast.unparse(decorator) for decorator in getattr(node, "decorator_list", []))
    return getattr(node, "name", "") == "from_config" or "_REGISTRY.register" in names or "configurable" in names


def uses_of_cfg(node: ast.AST) -> Iterator[int]:
    """Yield the lines below `node` that name `cfg`, but for functions that may hold one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and may_hold_cfg(child):
            continue
        if "cfg" in (getattr(child, "id", None), getattr(child, "arg", None)):
            yield child.lineno
        yield from uses_of_cfg(child)


def test_cfg_stops_where_parts_begin() -> None:
    found = {
        module: lines
        for module, tree in TREES.items()
        if not module.startswith(CFG_LIVES_IN) and (lines := list(uses_of_cfg(tree)))
    }
    assert found == {}


def keys_read(tree: ast.Module) -> Iterator[str]:
    """Yield "MODEL.CLIP.ARCH" for each ``cfg.MODEL.CLIP.ARCH``, also by way of ``keys = cfg.MODEL.CLIP; keys.ARCH``."""
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.FunctionDef):
            continue
        aliases: dict[str, str] = {}
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
                aliases |= {ast.unparse(target): ast.unparse(node.value) for target in node.targets}
        for node in ast.walk(scope):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                root, _, path = ast.unparse(node).partition(".")
                yield f"{aliases.get(root, root)}.{path}".removeprefix("self.").partition(".")[2]


def test_every_key_of_the_config_is_read() -> None:
    cfg = get_cfg()
    theirs = dict(leaves(cfg))
    add_icpc_config(cfg)
    ours = {key for key, value in leaves(cfg) if key not in theirs or theirs[key] != value}
    readers = [tree for module, tree in TREES.items() if module != "icpc_d2/config/keys"]
    # The ImageNet ResNet is built from its keys by Detectron2's DeepLab project.
    readers += [ast.parse(path.read_text()) for path in Path(deeplab.__file__).parent.glob("*.py")]
    read = {key for tree in readers for key in keys_read(tree)}
    assert ours - read == set()


def test_no_test_imports_from_a_test_or_a_conftest() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {node.module}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        if node.level or (node.module or "").rpartition(".")[2].startswith(("test_", "conftest"))
    ]
    assert found == []
