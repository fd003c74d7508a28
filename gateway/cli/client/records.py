"""Converts the sidecar's lists into rows of tables. Pure."""

from typing import Any

from protocol.records import CLUSTER, SUPERNODE_ROLE

NODE_COLUMNS = ("NODE", "NAME", "ROLE", "SERVICES", "ADDRESS")
_ORDER = {"local": 0, CLUSTER: 2}  # addresses for people come first


def node_row(record: dict[str, Any]) -> tuple[str, ...]:
    """Return a row for a node record."""
    addresses = sorted(record.get("addresses") or (), key=lambda a: _ORDER.get(a.get("type"), 1))
    is_supernode = SUPERNODE_ROLE in (record.get("rolesInCluster") or ())
    services = [str(service.get("id", "")) for service in record.get("services") or ()]
    return (
        str(record.get("id", "")),
        str(record.get("name") or ""),
        "supernode" if is_supernode else "member",
        ", ".join(services),
        _href(addresses[0]) if addresses else "",
    )


def rows_of(answer: Any) -> list[dict[str, Any]]:
    """Return the objects in a list answer, bare or in {"data": […]}."""
    data = answer.get("data") if isinstance(answer, dict) else answer
    return [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []


def _href(address: dict[str, Any]) -> str:
    url = address.get("url")
    return str(url.get("href", "")) if isinstance(url, dict) else ""
