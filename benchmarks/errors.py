"""Errors of the benchmarks.

BenchmarkError
├─ PeerError         a broker does not start, refuses us or hangs up
└─ ChoiceError       the command line asks for what is not there
"""


class BenchmarkError(Exception):
    """Base of this package's errors; messages read "cannot X: why"."""


class PeerError(BenchmarkError):
    """A broker does not start, refuses us or hangs up."""


class ChoiceError(BenchmarkError):
    """The command line asks for what is not there."""
