"""Defines the errors of the relay.

CloudError
└─ StartError
   └─ RelayError    it cannot listen; a fault of a peer is answered, not raised
"""

from cloud.errors import StartError


class RelayError(StartError):
    """The relay cannot start."""
