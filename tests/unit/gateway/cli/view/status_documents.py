"""A status document as the gateway gives it, to be changed by the tests."""

import copy
from typing import Any

NODE_ID = "5f1c9b" + "ab" * 25
NOW = 1_790_000_000.0

_STATUS: dict[str, Any] = {
    "node": {"id": NODE_ID, "name": "lab", "version": "0.1.0", "uptime_s": 134.0},
    "ready": True,
    "reasons": [],
    "cluster": {"role": "supernode", "supernodeId": NODE_ID, "members": 1},
    "sep": {
        "state": "online",
        "since": NOW - 100,
        "url": f"http://127.0.0.1:8080/sep/{NODE_ID}",
        "error": "",
        "spool": {"messages": 0, "bytes": 0, "dropped": 0},
    },
    "beps": [
        {
            "id": "b" * 22,
            "url": "http://127.0.0.1:8443/" + "b" * 22,
            "label": "climate",
            "expires_at": NOW + 3500,
            "visitors": 1,
            "visitors_total": 3,
            "bytes_total": 104_900_000,
            "state": "open",
        }
    ],
    "devices": [
        {
            "id": "dev-0123456789ab",
            "name": "kitchen",
            "model": "simulated",
            "online": True,
            "last_seen": NOW - 1,
            "messages": 143,
            "last_topic": "devices/dev-0123456789ab/readings/temperature",
            "last_payload": '{"value": 21.4375, "unit": "°C", "seq": 143}',
        }
    ],
    "broker": {
        "listeners": ["127.0.0.1:1883"],
        "connections": 5,
        "subscriptions": 9,
        "retained": 2,
        "messages_received": 1234,
        "messages_sent": 99,
        "messages_dropped": 0,
        "bytes_received": 1,
        "bytes_sent": 1,
        "store": {
            "log_bytes": 8_388_608,
            "live_bytes": 1000,
            "written_bytes": 5000,
            "commits": 7,
            "refused": 0,
            "full": False,
        },
    },
    "containers": [
        {
            "id": "api-climate",
            "name": "climate",
            "image": "climate-v1",
            "state": "started",
            "path": "/api/climate/v1",
            "expose": "public",
            "error": "",
            "handled": 286,
        }
    ],
}


def status(**changes: Any) -> dict[str, Any]:
    """Return a status document of a gateway at work; changes replace whole sections."""
    return {**copy.deepcopy(_STATUS), **changes}


def device(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(_STATUS["devices"][0]), **changes}


def broker(received: int) -> dict[str, Any]:
    return {**_STATUS["broker"], "messages_received": received}
