"""Shows the Bluetooth radio of a gateway, and gives bonds up."""

from typing import Any

from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.output import console, notes, print_json, print_table
from gateway.cli.view.words import printable

RADIO = "/devices/v1/radio"
DISABLED = (
    "Bluetooth is not enabled: set `enabled = true` in [bluetooth] of the gateway's configuration"
)
LINK_COLUMNS = ("ADDRESS", "DEVICE", "STATE", "FOR", "RSSI", "NOTE")
NO_LINKS = "no Hecate device is heard by Bluetooth"


async def show_radio(target: Target, *, as_json: bool) -> None:
    """Show the adapter, the scanner, the links, and the devices that wait for one."""
    async with SidecarClient(target) as sidecar:
        radio: dict[str, Any] = await sidecar.call("show radio", "GET", RADIO)
    if as_json:
        print_json(radio)
        return
    if not radio["enabled"]:
        console().print(DISABLED, soft_wrap=True)
        return
    for name, value in radio_lines(radio):
        console().print(f"{name:10}{printable(value)}", soft_wrap=True)
    console().print()
    rows = [link_row(each) for each in radio["links"]]
    rows += [waiting_row(each) for each in radio["waiting"]]
    print_table(LINK_COLUMNS, rows, NO_LINKS, frozenset({"NOTE"}))
    for bond in radio["lost_bonds"]:
        notes().print(
            f"bond lost: {bond['address']} {bond['device_id']}: if you have reset the device, "
            f"`hecate devices radio --forget {bond['address']}`",
            soft_wrap=True,
        )


async def forget_bond(target: Target, address: str) -> None:
    """Remove the bond with a device."""
    async with SidecarClient(target) as sidecar:
        await sidecar.call(f"forget {address}", "DELETE", f"{RADIO}/bonds/{address}")
    console().print(f"the bond with {address.upper()} is removed")


def radio_lines(radio: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what there is to say about the radio, as names and values."""
    adapter, scanner, counters = radio["adapter"], radio["scanner"], radio["counters"]
    where = f"{adapter['address']} ({adapter['name']})" if adapter else "none"
    heard = scanner["heard_s_ago"]
    state = "scans" if scanner["is_scanning"] else "does not scan"
    if heard is not None:
        state += f", heard something {heard:.0f} s ago"
    replaced = scanner["silent"] + scanner["start_failed"] + scanner["stop_failed"]
    lines = [
        ("adapter", where),
        ("scanner", f"{state}; {scanner['heard']} advertisements, {replaced} failures"),
        (
            "links",
            f"{len(radio['links'])} of {radio['limit']}; {counters['opened']} opened, "
            f"{counters['open_failed']} failed, {counters['lost']} lost, "
            f"{counters['parked']} ended for others",
        ),
    ]
    if radio["problem"]:
        lines.append(("problem", str(radio["problem"])))
    return lines


def link_row(link: dict[str, Any]) -> tuple[str, ...]:
    """Return a row for a link."""
    who = "joins" if link["is_joining"] else str(link["device_id"])
    return (
        str(link["address"]), who, str(link["state"]), f"{link['for_s']:.0f} s",
        _signal(link["rssi"]), "",
    )  # fmt: skip


def waiting_row(waiting: dict[str, Any]) -> tuple[str, ...]:
    """Return a row for a device that waits for a link."""
    notes = [
        ("has data", waiting["has_data"]),
        ("has commands", waiting["has_commands"]),
        ("wants to join", waiting["wants_to_join"]),
        (f"{waiting['failures']} failures", waiting["failures"]),
    ]
    who = str(waiting["device_id"])
    return (
        str(waiting["address"]), f"{who}?" if who else "", "waiting", f"{waiting['for_s']:.0f} s",
        _signal(waiting["rssi"]), ", ".join(text for text, is_so in notes if is_so),
    )  # fmt: skip


def _signal(rssi: Any) -> str:
    return f"{rssi:g} dBm" if isinstance(rssi, int | float) else ""
