from typing import Any

from gateway.cli.devices.rows import board_row, changes, device_lines, device_row

NOW = 1_000_000.0
DEVICE: dict[str, Any] = {
    "id": "dev-1", "name": "k", "model": "m", "online": False, "last_seen": NOW - 120,
    "groups": ["a", "b"], "attributes": {"battery": 80, "rssi": -60, "firmware": "1.27"},
    "token": {"made_at": NOW - 86400, "is_new_waiting": True}, "conflicts": 2, "joined_at": 1.0,
    "last_topic": "t", "last_payload": "p", "certificate": {"sha256": "d", "ends_at": NOW},
}  # fmt: skip
BOARD = {
    "code": "481-204", "board": "b", "name": "n", "model": "m", "state": "pending",
    "address": "10.0.0.9", "asked_at": NOW - 60, "known_as": "dev-1",
}  # fmt: skip


def test_rows_for_people() -> None:
    row = device_row(DEVICE, NOW)
    assert row[:5] == ("dev-1", "k", "m", "offline", "2 min ago")
    assert row[5:] == ("a, b", "80 %", "-60 dBm", "1.27")
    assert device_row({"id": "dev-1"}, NOW)[4] == "never"
    assert device_row({**DEVICE, "state": "conflict", "online": True}, NOW)[3] == "conflict"
    assert board_row(BOARD, NOW) == (
        "481-204", "b", "n", "m", "pending", "10.0.0.9", "1 min ago", "dev-1"
    )  # fmt: skip


def test_one_device_tells_what_a_person_has_to_know() -> None:
    lines = dict(device_lines({**DEVICE, "revoked_at": NOW}, NOW))
    assert lines["conflicts"] == "2: two boards log in with this identity"
    assert lines["groups"] == "a, b"
    assert lines["rssi"] == "-60"
    assert lines["token"].startswith("1 d 0 h ago")
    assert lines["revoked"].startswith("now")
    assert "a new token waits" in lines[""]
    assert dict(device_lines({"id": "dev-1"}, NOW))["last seen"] == "never"


def test_what_has_changed() -> None:
    online = {**DEVICE, "online": True}
    assert changes([DEVICE], [online, BOARD]) == [
        ("dev-1", "k", "online"), ("481-204", "n", "pending")
    ]  # fmt: skip
    assert changes([DEVICE], [DEVICE]) == []
    assert changes([DEVICE], []) == [("dev-1", "", "gone")]
