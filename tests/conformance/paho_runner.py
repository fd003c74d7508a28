"""Runs cases of one of Paho's suites: python paho_runner.py SUITE_FILE HOST PORT [CASE ...].

A program of its own, because the suites are scripts that keep their state in globals and read
the command line. Prints one outcome a line; what the suite prints goes to stderr.
"""

import runpy
import sys
import unittest
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.conformance.suites import Outcome, encode_outcome

_Error = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class _Telling(unittest.TextTestResult):
    """Tells each outcome as it comes."""

    answers = sys.stdout

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().addSuccess(test)
        self._tell(test, "")

    def addFailure(self, test: unittest.TestCase, err: _Error) -> None:  # noqa: N802
        super().addFailure(test, err)
        self._tell(test, repr(err[1]))

    def addError(self, test: unittest.TestCase, err: _Error) -> None:  # noqa: N802
        super().addError(test, err)
        self._tell(test, repr(err[1]))

    def _tell(self, test: unittest.TestCase, why: str) -> None:
        name = test.id()
        case = name if " " in name else name.rpartition(".")[2]  # "setUpClass (...)" as it is
        outcome = Outcome(case, not why, not why, why[:400])
        print(encode_outcome(outcome), file=self.answers, flush=True)


def main() -> None:
    """Run the suite as its own command line would."""
    suite, host, port, *cases = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr
    _Telling.answers = answers
    run = unittest.main

    def run_cases(*_: Any, **__: Any) -> None:
        # the suite hands its own options on to unittest, which does not know them
        argv = [suite, *(f"Test.{case}" for case in cases)]
        runner = unittest.TextTestRunner(
            stream=sys.stderr,
            resultclass=_Telling,  # type: ignore[arg-type]  # generic in the stubs only
        )
        run(module="__main__", argv=argv, testRunner=runner, exit=False)

    unittest.main = run_cases  # type: ignore[assignment]  # the suite calls it last
    sys.argv = [suite, "--hostname", host, "--port", port]
    sys.path.insert(0, str(Path(suite).parent))
    runpy.run_path(suite, run_name="__main__")


if __name__ == "__main__":
    main()
