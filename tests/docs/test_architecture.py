"""The walks name files and functions that exist."""

import ast
import re

import pytest

from tests.programs import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
STEPS = sorted(set(re.findall(r"`([\w/]+\.py):(\w+)`", PAGE)))
FILES = sorted(set(re.findall(r"`([\w/]+\.py)[:`]", PAGE)))


def test_the_page_has_walks() -> None:
    assert len(STEPS) > 30


@pytest.mark.parametrize("file", FILES)
def test_a_file_exists(file: str) -> None:
    assert (ROOT / file).is_file()


@pytest.mark.parametrize(("file", "function"), STEPS)
def test_a_function_exists(file: str, function: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    names = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert function in names
