"""Joins the visitors of BEPs with the connections of the nodes that serve them."""

from cloud.relay.beps import RelayedBep
from cloud.relay.errors import RelayError
from cloud.relay.limits import RelayLimits
from cloud.relay.server import Relay

__all__ = ["Relay", "RelayError", "RelayLimits", "RelayedBep"]
