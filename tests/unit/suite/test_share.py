"""The share of the slow tests: chosen by the seed, never nothing; the page of all of them."""

import sys
from pathlib import Path

import pytest

from scripts.soak import collect
from tests.programs import run
from tests.share import choose, part_of

FILE = """
import pytest

def test_quick(): pass

@pytest.mark.slow
@pytest.mark.parametrize("case", range(20))
def test_cases(case): pass

@pytest.mark.slow
@pytest.mark.timeout(300)
def test_long(): pass

@pytest.mark.slow
@pytest.mark.whole_in_any_share
@pytest.mark.parametrize("case", range(3))
def test_whole(case): pass
"""
JUNIT = """
<testsuites><testsuite>
<testcase classname="tests.a.test_b" name="test_c[1]" time="1.5">
<properties><property name="kills" value="40"/></properties></testcase>
<testcase classname="tests.a.test_b" name="test_c[2]" time="1"><failure/>
<properties><property name="kills" value="2"/></properties></testcase>
<testcase classname="tests.properties.broker.test_x" name="test_y" time="1"><skipped/></testcase>
</testsuite></testsuites>
"""


def collect_tests(folder: Path, share: str) -> list[str]:
    path = folder / "test_some.py"
    path.write_text(FILE)
    command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-p", "tests.conftest"]
    answer = run([*command, "-q", "--collect-only", str(path)], HECATE_TEST_SHARE=share)
    return [line.partition("::")[2] for line in answer.splitlines() if "::" in line]


def test_a_part_is_never_nothing_nor_more_than_all() -> None:
    assert part_of(200, share=0.2) == 40
    assert part_of(200, least=50, share=0.2) == 50
    assert part_of(3, least=50, share=0.2) == 3
    assert part_of(3, share=0.0) == 1


def test_the_seed_decides_which(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_seed(seed: str) -> list[int]:
        monkeypatch.setenv("HECATE_TEST_SEED", seed)
        return choose(range(100), "name", share=0.2)

    assert with_seed("1") == with_seed("1") == sorted(with_seed("1"))
    assert with_seed("1") != with_seed("2")
    assert set().union(*(with_seed(str(seed)) for seed in range(60))) == set(range(100))


def test_slow_tests_keep_their_share_and_long_ones_come_first(tmp_path: Path) -> None:
    some = collect_tests(tmp_path, "0.2")
    assert len(some) == 1 + 4 + 1 + 3
    assert some[0] == "test_long"
    assert len([name for name in some if name.startswith("test_whole")]) == 3


def test_numbers_of_a_test_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(JUNIT)
    lines = [row.write(name) for name, row in collect([tmp_path / "report.xml"]).items()]
    assert lines == [
        "| `tests/a/test_b.py`: test_c | 2 | 1 | 0 | 2 | 42 kills |",
        "| `tests/properties/broker` | 1 | 0 | 1 | 1 |  |",
    ]
