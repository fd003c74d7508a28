"""Describes the surroundings of a service."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Info:
    """Describes the container and node that a service runs in."""

    container_id: str = ""
    service_type: str = ""
    api_root: str = ""  # its path, such as /api/climate/v1
    node_id: str = ""
    account_id: str = ""
