"""The walks name files and functions that exist, one sentence a box, at most ten boxes."""

import ast
import re

import pytest

from tests.programs import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
STEPS = sorted(set(re.findall(r"`([\w/]+\.py):(\w+)`", PAGE)))
FILES = sorted(set(re.findall(r"`([\w/]+\.py)[:`]", PAGE)))
WALKS = [part for part in PAGE.split("\n## ") if "```mermaid" in part]


def test_the_page_has_three_walks() -> None:
    assert len(WALKS) == 3


@pytest.mark.parametrize("walk", WALKS, ids=[walk.splitlines()[0] for walk in WALKS])
def test_a_walk_has_at_most_ten_boxes_and_one_sentence_for_each(walk: str) -> None:
    boxes = re.findall(r"^\d+\. \*\*([\w ]+)\*\*: `[\w/]+\.py:\w+`", walk, re.MULTILINE)
    assert 3 <= len(boxes) <= 10
    picture = walk.split("```")[1]
    for box in boxes:
        assert re.search(rf"\b{box}\b", picture), f"{box} is not in the picture"


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
