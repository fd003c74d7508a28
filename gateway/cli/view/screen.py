"""Renders the live view with rich. Pure; the same input gives the same screen.

Colour carries one meaning: green works, yellow is on its way, red needs a person; all else is
plain or dim, and every colour has a word beside it.
"""

from typing import TypeVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.cli.view.snapshot import (
    APPROVED,
    BepView,
    ContainerView,
    DeviceView,
    SepView,
    Snapshot,
)
from gateway.cli.view.watch import Picture
from gateway.cli.view.words import ago, duration, plural, restarted, size

T = TypeVar("T")
GOOD, WAITING, BAD = "green", "yellow", "red"
ROWS_PER_SECTION = 8  # so that all of it fits 40 lines together with what stands above it
NOTES = 4  # about the way to the cloud
NAME_WIDTH = 16  # the same in each section, so that what follows lines up

_COLOURS = {
    "online": GOOD, "open": GOOD, "started": GOOD,
    "connecting": WAITING, "starting": WAITING, "created": WAITING, "opening": WAITING,
    "reconnecting": WAITING,
    "conflict": BAD, "revoked": BAD, "refused": BAD, "failed": BAD, "error": BAD,
}  # fmt: skip


def render(picture: Picture, now: float, hint: str = "") -> RenderableType:
    """Return the whole view at a unix time; hint is the last line, such as how to leave."""
    snapshot = picture.snapshot
    parts: list[RenderableType] = [_headline(picture)]
    parts += [Text(f"  ● {each}", style=BAD) for each in snapshot.warnings]
    parts.append(Text())
    parts += _section("Devices", _devices(picture, now), "none yet: hecate devices claim")
    parts += _section("Microservices", _containers(snapshot.containers), "none: hecate deploy DIR")
    parts += _section("Cloud", _cloud(snapshot, now), "")
    for note in snapshot.sep.notes[:NOTES]:  # with the whole width, and before the empty line
        parts.insert(-1, Text(f"  ● {note}", style=BAD, no_wrap=True, overflow="ellipsis"))
    parts.append(_footer(picture, hint))
    return Group(*parts)


def _headline(picture: Picture) -> RenderableType:
    snapshot = picture.snapshot
    left = Text.assemble(
        _dot(GOOD if snapshot.ready else WAITING),
        (" Hecate ", "bold"),
        (snapshot.node_name or snapshot.node_id[:12], "bold"),
        ("  ", ""),
        (_standing(snapshot), "dim"),
    )
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(left, Text.assemble((f"{picture.messages_per_s:.1f}", "bold"), " messages/s"))
    return grid


def _standing(snapshot: Snapshot) -> str:
    words = [f"node {snapshot.node_id[:12]}"]
    if snapshot.role:
        words.append(f"{snapshot.role} of {plural(max(1, snapshot.members), 'node')}")
    words.append(f"up {duration(snapshot.uptime_s)}")
    if not snapshot.ready:
        words.append("not ready: " + (", ".join(snapshot.reasons) or "starting"))
    return " · ".join(words)


def _section(title: str, rows: Table | None, empty: str) -> list[RenderableType]:
    body: RenderableType = Text(f"    {empty}", style="dim") if rows is None else rows
    return [Text(f"  {title}", style="bold dim"), body, Text()]


def _grid(*justify: str) -> Table:
    """Return a borderless table: a dot, the columns, the last pushed to the right edge."""
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    grid.add_column(width=3, justify="right")
    for position, side in enumerate(justify):
        last = position == len(justify) - 1
        grid.add_column(
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if side == "right" else "left",
            ratio=1 if side == "wide" else None,
            min_width=NAME_WIDTH if position == 0 else None,
            style="dim" if last else "",
        )
    return grid


def _devices(picture: Picture, now: float) -> Table | None:
    devices = picture.snapshot.devices
    if not devices:
        return None
    grid = _grid("left", "wide", "right", "right")
    for device in _first(devices):
        state = device.shown_state
        grid.add_row(
            _dot(_colour(state)),
            Text(device.name or device.device_id),
            Text(_readings(picture, device), style="" if device.online else "dim"),
            Text(f"{device.messages:,} messages", style="dim"),
            ago(now - device.last_seen) if device.last_seen else state,
        )
    _more(grid, len(devices), columns=5)
    return grid


def _readings(picture: Picture, device: DeviceView) -> str:
    readings = picture.readings.get(device.device_id, {})
    if not readings or device.state != APPROVED:
        return device.shown_state
    return " · ".join(f"{name} {value}" for name, value in sorted(readings.items()))


def _containers(containers: tuple[ContainerView, ...]) -> Table | None:
    if not containers:
        return None
    grid = _grid("left", "wide", "right")
    for container in _first(containers):
        note = container.error or container.path or container.state
        if not container.error and container.restarts:
            note = f"{note}  {restarted(container.restarts, container.last_end)}"
        handled = f"{container.handled:,} handled" if not container.error else container.state
        grid.add_row(
            _dot(BAD if container.error else _colour(container.state)),
            Text(container.name),
            Text(note, style=BAD if container.error else ""),
            handled,
        )
    _more(grid, len(containers), columns=4)
    return grid


def _cloud(snapshot: Snapshot, now: float) -> Table:
    grid = _grid("left", "wide", "right")
    sep = snapshot.sep
    grid.add_row(
        _dot(_colour(sep.state)),
        Text(f"SEP {sep.state or 'starting'}"),
        Text(sep.error or sep.url, style=BAD if sep.error else "dim"),
        _spool(sep),
    )
    for bep in _first(snapshot.beps):
        grid.add_row(
            _dot(_colour(bep.state)),
            Text(f"BEP {bep.state}"),
            Text(bep.url, style="dim"),
            _traffic(bep, now),
        )
    if not snapshot.beps:
        grid.add_row(_dot("dim"), Text("BEP none", style="dim"), "", "")
    _more(grid, len(snapshot.beps), columns=4)
    return grid


def _spool(sep: SepView) -> str:
    if sep.spool_dropped:
        return f"spool dropped {sep.spool_dropped:,}"
    if not sep.spool_messages:
        return "spool empty"
    if sep.spool_bytes < 10_000:  # so few bytes are only under way
        return f"spool {sep.spool_messages}"
    return f"spool {plural(sep.spool_messages, 'message')}, {size(sep.spool_bytes)}"


def _traffic(bep: BepView, now: float) -> str:
    words = [plural(bep.visitors_total, "visitor"), size(bep.bytes_total)]
    if bep.expires_at > now:
        words.append(f"{duration(bep.expires_at - now)} left")
    return " · ".join(words)


def _footer(picture: Picture, hint: str) -> RenderableType:
    broker = picture.snapshot.broker
    words = [
        f"MQTT {', '.join(broker.listeners)}".strip(),
        f"{broker.messages_received:,} in",
        f"{broker.messages_sent:,} out",
        f"{broker.messages_dropped:,} dropped",
        plural(broker.connections, "connection"),
        plural(broker.subscriptions, "subscription"),
    ]
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(no_wrap=True, overflow="ellipsis", style="dim", ratio=1)
    grid.add_column(justify="right", no_wrap=True, style="dim", width=len(hint))
    grid.add_row("  " + " · ".join(words), hint)
    return grid


def _first(rows: tuple[T, ...]) -> tuple[T, ...]:
    return rows[:ROWS_PER_SECTION]


def _more(grid: Table, count: int, columns: int) -> None:
    if count > ROWS_PER_SECTION:
        rest = Text(f"and {count - ROWS_PER_SECTION} more", style="dim")
        grid.add_row("", rest, *[""] * (columns - 2))


def _colour(state: str) -> str:
    return _COLOURS.get(state, "dim")


def _dot(style: str) -> Text:
    return Text("○" if style == "dim" else "●", style=style)
