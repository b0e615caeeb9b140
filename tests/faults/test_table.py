"""Every test that docs/reliability.md names exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [line.split("|")[1:-1] for line in (ROOT / "docs" / "reliability.md").read_text().splitlines() if "::" in line]


def test_each_fault_has_a_test_that_exists() -> None:
    assert len(ROWS) >= 30
    assert len({fault.strip() for fault, _, _ in ROWS}) == len(ROWS)
    named = [re.fullmatch(r" `([\w/]+\.py)::(test_\w+)` ", cell) for _, _, cell in ROWS]
    assert all(named)
    trees = {file: ast.parse((ROOT / "tests" / file).read_text()) for file in {match[1] for match in named}}
    functions = {
        file: {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} for file, tree in trees.items()
    }
    assert not [match[0] for match in named if match[2] not in functions[match[1]]]
