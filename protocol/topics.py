"""Names of topics: those of the product start with $hec/, people's own are free."""

CONTROL_PREFIX = "$hec/"

# On a gateway --------------------------------------------------------------------------

JOIN_REQUESTS = "$hec/join/+/request"
NODES = "$hec/nodes/+"


def join_request(client_id: str) -> str:
    """Return where a device asks to join."""
    return f"$hec/join/{client_id}/request"


def join_response(client_id: str) -> str:
    """Return where a joining device is answered."""
    return f"$hec/join/{client_id}/response"


def node_record(node_id: str) -> str:
    """Return where a node of the cluster publishes its record."""
    return f"$hec/nodes/{node_id}"


def device_prefix(device_id: str) -> str:
    """Return what all topics of a device start with."""
    return f"devices/{device_id}"


# On the cloud's broker -----------------------------------------------------------------


def sep_request(supernode_id: str, node_id: str) -> str:
    """Return where mSS sends a request for a node; + as node_id gives a supernode's filter."""
    return f"$hec/sep/{supernode_id}/{node_id}/request"


def sep_response(supernode_id: str, node_id: str, replica: str) -> str:
    """Return where a node's answer goes; each mSS replica reads its own."""
    return f"$hec/sep/{supernode_id}/{node_id}/response/{replica}"


def uplinked(node_id: str, topic: str) -> str:
    """Return a gateway topic's name in the cloud."""
    return f"nodes/{node_id}/{topic}"


def downlinked(node_id: str, topic: str) -> str:
    """Return where the cloud writes what a gateway shall publish as topic."""
    return f"nodes/{node_id}/down/{topic}"
