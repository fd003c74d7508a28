"""Defines the errors of the shared formats.

ContractError
├─ WireError        a peer sent bytes or fields that the format does not allow
└─ TokenError       a token, signature or code is not valid
"""


class ContractError(Exception):
    """Base of this package's errors; messages read "cannot X: why"."""


class WireError(ContractError):
    """A peer sent bytes or fields that the format does not allow."""


class TokenError(ContractError):
    """A token, signature or code is forged, expired or meant for someone else."""
