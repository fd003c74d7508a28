"""Joins a gateway as a device, with paho-mqtt in the place of the board."""

from typing import Any

from tests.mqtt_peer import Mqtt
from tests.programs import until
from tests.system import Gateway


def join(gateway: Gateway, token: str, client_id: str = "board-1") -> dict[str, Any]:
    """Do what a device does to join; return the gateway's answer."""
    with Mqtt(gateway.mqtt_port, "claim", token, client_id) as board:
        assert board.is_in, board.reason
        assert board.subscribe(f"$hec/join/{client_id}/response")
        board.publish(f"$hec/join/{client_id}/request", {"name": "lamp", "model": "paho"})
        answer: dict[str, Any] = until(board.payloads, "the gateway answers the join")[0]
        return answer


def log_in(gateway: Gateway, credentials: dict[str, Any]) -> Mqtt:
    """Connect as a device that has joined."""
    device_id = credentials["device_id"]
    device = Mqtt(gateway.mqtt_port, credentials["username"], credentials["password"], device_id)
    assert device.is_in, device.reason
    return device
