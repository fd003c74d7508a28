"""Fuzzes by coverage: python -m tests.hostile.fuzz TARGET [libFuzzer's options] [corpus ...].

Where atheris has no wheel, test_targets.py still feeds the same targets, by hypothesis.
"""

import sys

import atheris

with atheris.instrument_imports(
    include=["broker", "protocol", "gateway.links", "gateway.services"]
):
    from tests.hostile.targets import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
