"""Defines the errors of the benchmarks.

BenchmarkError
├─ PeerError         a broker does not start, refuses us, hangs up or takes too long
├─ UnableError       a broker does not have what a scenario needs; trying again changes nothing
└─ ChoiceError       the command line asks for what is not there
"""


class BenchmarkError(Exception):
    """Base of this package's errors; messages read "cannot X: why"."""


class PeerError(BenchmarkError):
    """A broker does not start, refuses us, hangs up or takes too long."""


class UnableError(BenchmarkError):
    """A broker does not have what a scenario needs."""


class ChoiceError(BenchmarkError):
    """The command line asks for what is not there."""
