"""Encodes and decodes the TXT record of a node. Pure; what a stranger announces is a hint only."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.cluster.election.heartbeat import Role
from protocol.ids import NODE_ID

SERVICE_TYPE = "_hecate._tcp.local."
PROTOCOL_VERSION = 1
VALUE_LIMIT = 128


@dataclass(frozen=True, slots=True)
class Announcement:
    """The announcement of a node; unknown keys are left out."""

    node_id: str
    role: Role = Role.LISTENING
    supernode_id: str = ""
    version: int = PROTOCOL_VERSION
    calls: int = 0  # new announcements of a node that misses others


def encode_txt(announcement: Announcement) -> dict[str, str]:
    """Return the pairs of the TXT record."""
    return {
        "id": announcement.node_id,
        "v": str(announcement.version),
        "role": announcement.role.value,
        "super": announcement.supernode_id,
        "calls": str(announcement.calls),  # nobody notices an announcement that changes nothing
    }


def decode_txt(pairs: Mapping[bytes, bytes | None]) -> Announcement | None:
    """Return the announcement in a TXT record; None when it holds no usable one."""
    # of keys that differ in case only, the first counts (RFC 6763, 6.4)
    named = {key.lower(): value for key, value in reversed(list(pairs.items()))}
    texts: dict[str, str] = {}
    for key in (b"id", b"v", b"role", b"super"):
        value = named.get(key) or b""
        if len(value) > VALUE_LIMIT or not value.isascii():
            return None
        texts[key.decode()] = value.decode()
    version = texts["v"]
    is_number = version.isdigit() and len(version) < 6
    supernode_id = texts["super"]
    if not NODE_ID.fullmatch(texts["id"]) or not is_number:
        return None
    if supernode_id and not NODE_ID.fullmatch(supernode_id):
        return None
    role = Role(texts["role"]) if texts["role"] in tuple(Role) else Role.LISTENING
    return Announcement(texts["id"], role, supernode_id, int(version))


def instance_name(node_id: str) -> str:
    """Return the service instance name of a node; node ids fit a DNS label."""
    return f"{node_id}.{SERVICE_TYPE}"


def node_id_of(name: str) -> str:
    """Return the node id in a service instance name; "" when it holds none."""
    label, _, service_type = name.partition(".")
    is_ours = service_type.casefold() == SERVICE_TYPE and NODE_ID.fullmatch(label) is not None
    return label if is_ours else ""
