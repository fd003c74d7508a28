"""Converts devices and boards of the API into rows and lines for people. Pure."""

import datetime
from collections.abc import Iterable
from typing import Any

from gateway.cli.view.words import ago

DEVICE_COLUMNS = (
    "DEVICE", "NAME", "MODEL", "STATE", "LAST SEEN", "GROUPS", "BATTERY", "RSSI", "FIRMWARE"
)  # fmt: skip
DEVICE_OPTIONAL = frozenset({"GROUPS", "BATTERY", "RSSI", "FIRMWARE"})
BOARD_COLUMNS = ("CODE", "BOARD", "NAME", "MODEL", "STATE", "ADDRESS", "ASKED", "WAS")
BOARD_OPTIONAL = frozenset({"WAS"})
LINK_COLUMNS = ("LINK", "STATE", "DEVICE", "RECEIVED", "SENT", "SPOILED", "REFUSED", "PROBLEM")
LINK_OPTIONAL = frozenset({"SPOILED", "REFUSED", "PROBLEM"})


SENSOR_COLUMNS = ("ADDRESS", "NAME", "MODEL", "VALUES", "RSSI", "HEARD", "NOTE")
SENSOR_OPTIONAL = frozenset({"NOTE"})


def state_of(device: dict[str, Any]) -> str:
    """Return the state of a device as a person wants to know it."""
    state = str(device.get("state") or "approved")
    if state != "approved":
        return state
    return str(device.get("problem") or ("online" if device.get("online") else "offline"))


def device_row(device: dict[str, Any], now: float) -> tuple[str, ...]:
    """Return a row for a device at a unix time."""
    last_seen = device.get("last_seen") or 0
    attributes = device.get("attributes") or {}
    battery, rssi = attributes.get("battery"), attributes.get("rssi")
    return (
        str(device.get("id", "")),
        str(device.get("name", "")),
        str(device.get("model", "")),
        state_of(device),
        ago(now - last_seen) if last_seen else "never",
        ", ".join(str(group) for group in device.get("groups") or ()),
        f"{battery:g} %" if isinstance(battery, int | float) else "",
        f"{rssi:g} dBm" if isinstance(rssi, int | float) else "",
        str(attributes.get("firmware", "")),
    )


def board_row(board: dict[str, Any], now: float) -> tuple[str, ...]:
    """Return a row for a board that asks to join."""
    return (
        str(board.get("code", "")),
        str(board.get("board", "")),
        str(board.get("name", "")),
        str(board.get("model", "")),
        str(board.get("state", "")),
        str(board.get("address", "")),
        ago(now - float(board.get("asked_at") or now)),
        str(board.get("known_as", "")),
    )


def link_row(link: dict[str, Any]) -> tuple[str, ...]:
    """Return a row for a link to a device without IP."""
    counters = link.get("counters") or {}
    names = ("chunks_received", "chunks_sent", "spoiled", "refused")
    return (
        str(link.get("name", "")),
        str(link.get("state", "")),
        str(link.get("device_id") or ("a board joins" if link.get("joining") else "")),
        *(str(counters.get(name, 0)) for name in names),
        str(link.get("problem") or ""),
    )


def sensor_row(sensor: dict[str, Any], now: float) -> tuple[str, ...]:
    """Return a row for a sensor that nobody has accepted."""
    shown = [f"{v['name']} {v['value']} {v['unit']}".strip() for v in sensor.get("values") or ()]
    shown += [f"{e['name']} {e['event']}" for e in sensor.get("events") or ()]
    if sensor.get("encrypted"):
        shown = ["encrypted"]
    return (
        str(sensor.get("address", "")),
        str(sensor.get("name", "")),
        str(sensor.get("model", "")),
        ", ".join(shown),
        f"{sensor.get('rssi', 0)} dBm",
        ago(now - float(sensor.get("heard_at") or now)),
        "changes its address" if sensor.get("changes_address") else "",
    )


def _sensor_lines(sensor: dict[str, Any]) -> list[tuple[str, str]]:
    kind = "encrypted" if sensor.get("encrypted") else "not encrypted: anybody can send as it"
    lines = [("sensor", f"{sensor.get('address', '')}, {kind}")]
    if sensor.get("lower_counter") is not None:
        lines.append(
            ("counter", f"went back from {sensor['counter']} to {sensor['lower_counter']}")
        )
    return lines


def device_lines(device: dict[str, Any], now: float) -> list[tuple[str, str]]:
    """Return what there is to say about a device, as names and values."""
    token, certificate = device.get("token") or {}, device.get("certificate")
    lines = [
        ("device", str(device.get("id", ""))),
        ("name", str(device.get("name", ""))),
        ("model", str(device.get("model", ""))),
        ("state", state_of(device)),
        ("last seen", _when(device.get("last_seen"), now)),
        ("joined", _when(device.get("joined_at"), now)),
        ("groups", ", ".join(device.get("groups") or ()) or "none"),
    ]
    if device.get("sensor"):
        lines += _sensor_lines(device["sensor"])
    else:
        lines.append(("board", str(device.get("board", ""))))
        lines.append(("token", _when(token.get("made_at"), now)))
    if token.get("is_new_waiting"):
        lines.append(("", "a new token waits until the device has used it"))
    if certificate:
        lines.append(("certificate", f"until {_date(float(certificate['ends_at']))}"))
    if device.get("revoked_at"):
        lines.append(("revoked", _when(device["revoked_at"], now)))
    if device.get("conflicts"):
        times = device["conflicts"]
        lines.append(("conflicts", f"{times}: two boards log in with this identity"))
    for name, value in (device.get("attributes") or {}).items():
        lines.append((str(name), str(value)))
    if device.get("last_topic"):
        lines.append(("last message", f"{device['last_topic']} {device.get('last_payload', '')}"))
    return lines


def changes(
    before: Iterable[dict[str, Any]], after: Iterable[dict[str, Any]]
) -> list[tuple[str, str, str]]:
    """Return (id, name, new state) of the devices and boards whose state is another now."""
    known = {_key(row): _state(row) for row in before}
    found = [
        (_key(row), str(row.get("name", "")), _state(row))
        for row in after
        if known.pop(_key(row), "") != _state(row)
    ]
    return found + [(key, "", "gone") for key in known]


def _key(row: dict[str, Any]) -> str:
    return str(row.get("code") or row.get("id", ""))


def _state(row: dict[str, Any]) -> str:
    return str(row.get("state", "")) if row.get("code") else state_of(row)


def _when(at: Any, now: float) -> str:
    return f"{ago(now - float(at))}, {_date(float(at))}" if at else "never"


def _date(at: float) -> str:
    return datetime.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
