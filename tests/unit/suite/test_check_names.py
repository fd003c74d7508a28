"""The check of names finds docstrings and comments without a subject, and no others."""

import ast

import pytest

from scripts.check_names import find_comments, find_docstrings


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"""What a reader sees."""\n', True),
        ('def f():\n    """Whether it is on."""\n', True),
        ('"""Shows what a reader sees."""\n', False),
    ],
)
def test_a_docstring_needs_a_subject(text: str, found: bool) -> None:
    assert bool(list(find_docstrings({"a.py": ast.parse(text)}))) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("LIMIT = 8  " + "# that wait\n", True),
        ("# what a peer may send\nLIMIT = 8\n", True),
        ("LIMIT = 8  # requests that wait\n", False),
        ("# the limit of a peer,\n# which may send more\n", False),
        ('url = "a#what"\n', False),
    ],
)
def test_a_comment_needs_a_subject(text: str, found: bool) -> None:
    assert bool(list(find_comments({"a.py": text}))) == found
