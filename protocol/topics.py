"""Names the topics of the product: those below $hec/, and those of devices, below devices/."""

# On a gateway --------------------------------------------------------------------------

JOIN_REQUESTS = "$hec/join/+/request"
NODES = "$hec/nodes/+"
ONLINE, OFFLINE = b"online", b"offline"  # the payloads of a device's status
PENDING = "devices/pending"  # the boards that wait for approval; retained
ABOUT = "devices/+/about"


def join_request(client_id: str) -> str:
    """Return the topic of a device's join request."""
    return f"$hec/join/{client_id}/request"


def join_response(client_id: str) -> str:
    """Return the topic of the answer to a join request."""
    return f"$hec/join/{client_id}/response"


def node_record(node_id: str) -> str:
    """Return the topic of a node's record."""
    return f"$hec/nodes/{node_id}"


def device_prefix(device_id: str) -> str:
    """Return the prefix of a device's topics."""
    return f"devices/{device_id}"


def status_topic(device_id: str) -> str:
    """Return the topic of a device's status: ONLINE, or what its will says."""
    return f"{device_prefix(device_id)}/status"


def time_topic(device_id: str) -> str:
    """Return the topic on which the gateway tells a device the time."""
    return f"{device_prefix(device_id)}/time"


def attributes_topic(device_id: str) -> str:
    """Return the topic on which a device reports its attributes."""
    return f"{device_prefix(device_id)}/attributes"


def about_topic(device_id: str) -> str:
    """Return the topic on which the gateway tells applications about a device; retained."""
    return f"{device_prefix(device_id)}/about"


def credentials_topic(device_id: str) -> str:
    """Return the topic on which a device gets new credentials; nobody else may read it."""
    return f"$hec/devices/{device_id}/credentials"


# On the cloud's broker -----------------------------------------------------------------


def sep_request(holder_id: str, node_id: str) -> str:
    """Return the topic of mSS's requests for a node; + as node_id gives a SEP holder's filter."""
    return f"$hec/sep/{holder_id}/{node_id}/request"


def sep_response(holder_id: str, node_id: str, replica: str) -> str:
    """Return the topic of a node's answers; each mSS replica reads its own."""
    return f"$hec/sep/{holder_id}/{node_id}/response/{replica}"


def read_sep_response(topic: str) -> tuple[str, str]:
    """Return the SEP holder and the node of the topic of an answer; ("", "") of another topic."""
    parts = topic.split("/")
    is_answer = len(parts) == 6 and parts[:2] == ["$hec", "sep"] and parts[4] == "response"
    return (parts[2], parts[3]) if is_answer else ("", "")


def uplinked(node_id: str, topic: str) -> str:
    """Return a gateway topic's name in the cloud."""
    return f"nodes/{node_id}/{topic}"


def downlinked(node_id: str, topic: str) -> str:
    """Return the cloud's name for a topic that a gateway shall publish."""
    return f"nodes/{node_id}/down/{topic}"
