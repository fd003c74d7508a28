"""Coverage-guided fuzzing: python -m tests.hostile.fuzz TARGET [libFuzzer's options] [corpus ...].

Where atheris has no wheel, a mutation fuzzer of a few lines takes its place: see mutate.py.
"""

import sys

import atheris

with atheris.instrument_imports(include=["broker", "protocol"]):
    from tests.hostile.targets import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
