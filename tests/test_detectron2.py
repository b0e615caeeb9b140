"""What we rely on in Detectron2, from April 2024 to its main branch: checked against whichever is installed."""

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCES = [*sorted((ROOT / "icpc_d2").rglob("*.py")), ROOT / "train_net.py"]
TREES = {path: ast.parse(path.read_text()) for path in SOURCES}
# What needs the compiled part; the model zoo needs `pkg_resources`, which setuptools has dropped.
FORBIDDEN = ("detectron2._C", "detectron2.model_zoo", "detectron2.layers.deform_conv", "detectron2.layers.nms_rotated")


def imports_of_detectron2(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Return name in our file -> (module, name there); an ``import a.b`` counts as (a.b, "")."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "detectron2":
            found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name: (alias.name, "") for alias in node.names if alias.name.split(".")[0] == "detectron2"}
    return found


def calls_into_detectron2() -> Iterator[tuple[str, Any, list[str]]]:
    """Yield (where it stands, what is called, keywords) of our calls of names that are imported from Detectron2."""
    for path, tree in TREES.items():
        imported = imports_of_detectron2(tree)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            root, *attributes = ast.unparse(node.func).split(".")
            if root in imported and all(attribute.isidentifier() for attribute in attributes):
                module, name = imported[root]
                called = import_name(module, name)
                for attribute in attributes:
                    called = getattr(called, attribute)
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                yield where, called, [keyword.arg for keyword in node.keywords if keyword.arg]


def import_name(module: str, name: str) -> Any:
    found = importlib.import_module(module)
    return getattr(found, name) if hasattr(found, name) else importlib.import_module(f"{module}.{name}")


def test_nothing_is_imported_that_is_not_everywhere() -> None:
    forbidden = tuple(f"{module}." for module in FORBIDDEN)
    found = [
        f"{path.relative_to(ROOT)}: {'.'.join(parts)}"
        for path, tree in TREES.items()
        for parts in imports_of_detectron2(tree).values()
        if f"{'.'.join(parts)}.".startswith(forbidden)
    ]
    assert found == []


def test_keywords_that_we_pass_are_known_to_this_detectron2() -> None:
    checked, unknown = 0, []
    for where, called, keywords in calls_into_detectron2():
        if isinstance(called, type) and issubclass(called, SimpleNamespace):
            continue  # it takes any keywords, and Python finds no signature
        parameters = inspect.signature(called).parameters.values()
        if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            continue
        missing = set(keywords) - {parameter.name for parameter in parameters}
        unknown += [f"{where}: {called} has no {name}" for name in missing]
        checked += len(keywords)
    assert unknown == []
    assert checked > 10


def test_everything_imports_without_compiled_part_and_pkg_resources() -> None:
    # The web page is left out where its library is not installed.
    sources = [path for path in SOURCES if find_spec("gradio") or "import gradio" not in path.read_text()]
    modules = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in sources]
    blocked = ["pkg_resources", "detectron2._C", "detectron2.model_zoo"]
    program = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({blocked}))\n"
        f"for module in {[module.removesuffix('.__init__') for module in modules]}: importlib.import_module(module)"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
