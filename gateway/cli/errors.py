"""Defines the errors of the command line.

CliError          exit code 1, "cannot X: why" on stderr
└─ OptionError   exit code 2: the command line itself asks for something that cannot be
"""


class CliError(Exception):
    """The command failed; the message is for a person."""

    exit_code = 1


class OptionError(CliError):
    """The options given do not make sense together."""

    exit_code = 2
