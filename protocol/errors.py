"""Errors of what both ends agree on.

ContractError
├─ WireError        a peer sent what the contract does not allow
└─ TokenError       a token, signature or code does not hold
"""


class ContractError(Exception):
    """Base of this package's errors; messages read "cannot X: why"."""


class WireError(ContractError):
    """A peer sent bytes or fields that mean nothing here."""


class TokenError(ContractError):
    """A token, signature or code is forged, expired or meant for someone else."""
