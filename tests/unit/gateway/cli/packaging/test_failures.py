import pytest

from gateway.cli.packaging.failures import explain_missing_wheel, explain_other, find_missing
from gateway.cli.packaging.platforms import parse_platform

ARM = parse_platform("linux/arm64", "3.11")
# ruff: noqa: E501  # pip's own lines
NONE = """ERROR: Could not find a version that satisfies the requirement smbus2x>=1 (from board) (from versions: none)
ERROR: No matching distribution found for smbus2x>=1
"""
SOME = """Looking in links: /wheels
ERROR: Ignored the following versions that require a different python version: 9.0 Requires-Python >=3.14
ERROR: Could not find a version that satisfies the requirement numpy==1.2 (from versions: 1.21.0, 1.22.0, 2.0.0)
ERROR: No matching distribution found for numpy==1.2
"""
OFFLINE = """WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)': /simple/numpy/
ERROR: Could not find a version that satisfies the requirement numpy (from versions: none)
ERROR: No matching distribution found for numpy
"""
GIT = """  error: subprocess-exited-with-error
  fatal: unable to access 'https://x/': Could not connect
  note: This error originates from a subprocess, and is likely not a problem with pip.
ERROR: note: This error originates from a subprocess
"""
CONFLICT = """ERROR: Cannot install a==1 and b==1 because these package versions have conflicting dependencies.

The conflict is caused by:
    a 1 depends on c==1
    b 1 depends on c==2

To fix this you could try to:
1. loosen the range of package versions you've specified
"""


# case S25
def test_a_package_without_a_wheel_is_named_with_tag_and_remedies() -> None:
    missing = find_missing(NONE)
    assert missing is not None
    assert (missing.name, missing.others) == ("smbus2x", ())
    text = explain_missing_wheel(missing, ARM, "meter", is_known=True)
    assert "no wheel of smbus2x>=1 for cp311-manylinux_2_31_aarch64" in text
    assert "a gateway compiles nothing" in text
    assert "pip wheel --no-deps 'smbus2x>=1' -w meter/wheels" in text


# case S25
def test_versions_that_have_a_wheel_are_offered() -> None:
    missing = find_missing(SOME)
    assert missing is not None
    text = explain_missing_wheel(missing, ARM, "meter", is_known=True)
    assert "ask for a version that has one: 1.21.0, 1.22.0, 2.0.0" in text


# case S25
def test_a_name_that_the_index_does_not_have_is_told_apart() -> None:
    missing = find_missing(NONE)
    assert missing is not None
    text = explain_missing_wheel(missing, ARM, "meter", is_known=False)
    assert text.startswith("the index has no package smbus2x; look for a typing error")


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (OFFLINE, "pip does not reach its package index"),
        (CONFLICT, "contradict one another: a 1 depends on c==1; b 1 depends on c==2"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "resolve anew with --upgrade"),
        ("x\nERROR: Invalid requirement: 'a b c'\n", "Invalid requirement: 'a b c'"),
        ("boom", "boom"),
        (GIT, "unable to access 'https://x/'"),
        ("", "pip said nothing"),
    ],
)
def test_other_failures_keep_their_reason(output: str, why: str) -> None:
    assert find_missing(output) is None
    assert why in explain_other(output)
