"""Parses the answer of GET /status/v1; an absent field gets a quiet default."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.cli.view.words import number_of, printable

APPROVED = "approved"  # a device that joined, and nothing is wrong


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One device as the gateway sees it."""

    device_id: str
    name: str
    model: str
    online: bool
    last_seen: float
    messages: int
    last_topic: str
    last_payload: str
    state: str = APPROVED
    problem: str = ""  # the reason why nothing of it counts

    @property
    def shown_state(self) -> str:
        """The state as a person wants to know it."""
        if self.state != APPROVED:
            return self.state
        if self.problem:
            return self.problem
        return "online" if self.online else "offline"


@dataclass(frozen=True, slots=True)
class SepView:
    """The signalling link to the cloud, and the messages on disk for it."""

    state: str
    url: str
    error: str
    spool_messages: int
    spool_bytes: int
    spool_dropped: int
    spool_full: bool
    notes: tuple[str, ...]  # remarks on the way to the cloud, for a person


@dataclass(frozen=True, slots=True)
class BepView:
    """One open tunnel."""

    bep_id: str
    url: str
    state: str
    expires_at: float
    visitors: int
    visitors_total: int
    bytes_total: int


@dataclass(frozen=True, slots=True)
class ContainerView:
    """One microservice."""

    container_id: str
    name: str
    image: str
    state: str
    path: str
    expose: str
    error: str
    handled: int
    restarts: int = 0
    last_end: str = ""  # the reason of the last unwanted end of its process


@dataclass(frozen=True, slots=True)
class BrokerView:
    """Counters of the embedded broker."""

    listeners: tuple[str, ...]
    connections: int
    subscriptions: int
    retained: int
    messages_received: int
    messages_sent: int
    messages_dropped: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The status of a gateway at one instant."""

    node_id: str
    node_name: str
    version: str
    uptime_s: float
    ready: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    role: str
    members: int
    sep: SepView
    broker: BrokerView
    beps: tuple[BepView, ...]
    devices: tuple[DeviceView, ...]
    containers: tuple[ContainerView, ...]


def parse_snapshot(status: dict[str, Any]) -> Snapshot:
    """Return the snapshot in a decoded status document."""
    node, cluster = _table(status, "node"), _table(status, "cluster")
    return Snapshot(
        node_id=str(node.get("id", "")),
        node_name=str(node.get("name", "")),
        version=str(node.get("version", "")),
        uptime_s=number_of(node, "uptime_s"),
        ready=bool(status.get("ready", False)),
        reasons=tuple(str(reason) for reason in status.get("reasons") or ()),
        warnings=tuple(_shortened(str(each), 240) for each in status.get("warnings") or ()),
        role=str(cluster.get("role", "")),
        members=int(number_of(cluster, "members")),
        sep=_sep(_table(status, "sep")),
        broker=_broker(_table(status, "broker")),
        beps=tuple(_bep(row) for row in _rows(status, "beps")),
        devices=tuple(_device(row) for row in _rows(status, "devices")),
        containers=tuple(_container(row) for row in _rows(status, "containers")),
    )


def parse_reading(device: DeviceView) -> tuple[str, str] | None:
    """Return name and value with unit of a device's last reading, or None if it sent none."""
    prefix, _, name = device.last_topic.partition("/readings/")
    if not name or not prefix.startswith("devices/"):
        return None
    try:
        reading = json.loads(device.last_payload)
        value = reading["value"]
    except (ValueError, TypeError, KeyError):
        return None
    if isinstance(value, float):
        value = _rounded(value)
    unit = str(reading.get("unit") or "")
    return _shortened(name), _shortened(f"{value} {unit}".strip())


def _rounded(value: float) -> str:
    # decimals do not come and go with the value, or the line would jump
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def _shortened(text: str, limit: int = 24) -> str:
    return printable(text[:limit])


def _sep(row: dict[str, Any]) -> SepView:
    spool = _table(row, "spool")
    return SepView(
        state=str(row.get("state", "")),
        url=str(row.get("url", "")),
        error=_shortened(str(row.get("error") or ""), 200),
        spool_messages=int(number_of(spool, "messages")),
        spool_bytes=int(number_of(spool, "bytes")),
        spool_dropped=int(number_of(spool, "dropped")),
        spool_full=bool(spool.get("full", False)),
        notes=tuple(_notes(row, spool)),
    )


def _notes(row: dict[str, Any], spool: dict[str, Any]) -> Iterator[str]:
    clock = str(_table(row, "clock").get("note") or "")
    if clock:
        yield _shortened(clock, 80)
    if spool.get("full"):
        yield f"spool full: new messages stay on this node ({spool.get('when_full')})"
    if spool.get("error"):
        yield _shortened(f"spool cannot be written: {spool['error']}", 160)
    count = int(number_of(spool, "set_aside_total")) or int(number_of(spool, "set_aside"))
    latest = _rows(spool, "latest")
    if count and latest:
        topic, why = _shortened(str(latest[0].get("topic")), 60), str(latest[0].get("reason"))
        yield f"{count} set aside, last {topic}: {_shortened(why, 120)}"
    for topic_filter, why in _table(row, "denied").items():
        yield _shortened(f'cloud denies rule "{topic_filter}": {why}', 160)


def _broker(row: dict[str, Any]) -> BrokerView:
    return BrokerView(
        listeners=tuple(str(listener) for listener in row.get("listeners") or ()),
        connections=int(number_of(row, "connections")),
        subscriptions=int(number_of(row, "subscriptions")),
        retained=int(number_of(row, "retained")),
        messages_received=int(number_of(row, "messages_received")),
        messages_sent=int(number_of(row, "messages_sent")),
        messages_dropped=int(number_of(row, "messages_dropped")),
    )


def _bep(row: dict[str, Any]) -> BepView:
    return BepView(
        bep_id=str(row.get("id", "")),
        url=str(row.get("url", "")),
        state=str(row.get("state", "")),
        expires_at=number_of(row, "expires_at"),
        visitors=int(number_of(row, "visitors")),
        visitors_total=int(number_of(row, "visitors_total")),
        bytes_total=int(number_of(row, "bytes_total")),
    )


def _device(row: dict[str, Any]) -> DeviceView:
    return DeviceView(
        device_id=str(row.get("id", "")),
        name=_shortened(str(row.get("name", "")), 64),
        model=_shortened(str(row.get("model", "")), 64),
        online=bool(row.get("online", False)),
        last_seen=number_of(row, "last_seen"),
        messages=int(number_of(row, "messages")),
        last_topic=str(row.get("last_topic") or ""),
        last_payload=str(row.get("last_payload") or ""),
        state=str(row.get("state") or APPROVED),
        problem=str(row.get("problem") or ""),
    )


def _container(row: dict[str, Any]) -> ContainerView:
    return ContainerView(
        container_id=str(row.get("id", "")),
        name=str(row.get("name", "")),
        image=str(row.get("image", "")),
        state=str(row.get("state", "")),
        path=str(row.get("path", "")),
        expose=str(row.get("expose", "")),
        error=_shortened(str(row.get("error") or ""), 200),
        handled=int(number_of(row, "handled")),
        restarts=int(number_of(row, "restarts")),
        last_end=_shortened(str(row.get("last_end") or ""), 200),
    )


def _table(row: dict[str, Any], key: str) -> dict[str, Any]:
    value = row.get(key)
    return value if isinstance(value, dict) else {}


def _rows(row: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = row.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
