"""Coverage-guided fuzzing of every target for a while, from the seeds."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from tests.hostile.seeds import SEEDS
from tests.hostile.targets import TARGETS
from tests.programs import PATIENCE, ROOT, Program
from tests.share import Count

SECONDS = int(os.environ.get("HECATE_FUZZ_S", "25"))  # of each target
RUNS = 100_000
MEMORY_MIB = 1_024
INPUT_S = 10  # one input may take; a good one takes less than a millisecond

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(PATIENCE * (SECONDS + 120)),
    pytest.mark.skipif(
        importlib.util.find_spec("atheris") is None,
        reason="atheris has wheels for Linux on x86-64 only; test_targets.py runs everywhere",
    ),
]


@pytest.mark.parametrize("name", TARGETS)
def test_fuzz(name: str, tmp_path: Path, record_property: Count) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"{number}").write_bytes(seed)
    limits = [
        f"-max_total_time={SECONDS}", f"-runs={RUNS}", "-seed=1", "-max_len=2048",
        f"-timeout={INPUT_S}",
        f"-rss_limit_mb={MEMORY_MIB}", f"-artifact_prefix={tmp_path}/", "-verbosity=1",
    ]  # fmt: skip
    command = [sys.executable, "-m", "tests.hostile.fuzz", name, *limits, str(corpus)]
    # always the same inputs, as far as the time allows: by hand, another seed finds others
    with Program(command, {"PYTHONHASHSEED": "0"}, cwd=ROOT) as program:
        code = program.wait(timeout_s=SECONDS + 60)
    record_property("seconds of fuzzing", SECONDS)
    crashes = [path.read_bytes() for path in tmp_path.glob("*-*") if path.is_file()]
    assert code == 0, "".join(program.lines[-60:]) + f"\ninput: {crashes!r}"
