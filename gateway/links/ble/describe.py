"""Describes the radio and the devices behind it, for the API, people and metrics."""

from dataclasses import asdict, dataclass
from typing import Any

from gateway.links.ble.advertisers import Advertiser
from gateway.links.ble.bonds import BondBook
from gateway.links.ble.scheduler import LinkScheduler, Turn
from hardware.radio.radio import Radio
from protocol.ids import DEVICE_ID

SHOWN_BONDS = 3


@dataclass(frozen=True, slots=True)
class BluetoothView:
    """The parts that are described."""

    radio: Radio
    scheduler: LinkScheduler
    bonds: BondBook

    def describe(self, now: float) -> dict[str, Any]:
        """Return everything as it is now."""
        return {
            "enabled": True,
            "adapter": self._adapter(),
            "problem": self.radio.problem or self.radio.scanner.problem,
            "scanner": self._scanner(now),
            "limit": self.scheduler.limit,
            "links": [self._link(turn, now) for turn in self.scheduler.turns],
            "waiting": [_waiting(each, now) for each in self.scheduler.waiting(now)],
            "known": len(self.scheduler.advertisers),
            "lost_bonds": [
                {"address": bond.address, "device_id": bond.was, "for_s": round(now - bond.since)}
                for bond in self.bonds.lost
            ],
            "counters": self._counters(),
        }

    def warning(self) -> str:
        """Return what a person should do something about; "" when all is well."""
        problem = self.radio.problem or self.radio.scanner.problem
        found = [problem] if problem else []
        for bond in self.bonds.lost[:SHOWN_BONDS]:
            whose = f" ({bond.was})" if bond.was else ""
            found.append(
                f"the bond with {bond.address}{whose} is lost; if you have reset the device, "
                f"`hecate devices radio --forget {bond.address}` removes the bond"
            )
        return f"Bluetooth: {'; '.join(found)}" if found else ""

    def _adapter(self) -> dict[str, Any] | None:
        adapter = self.radio.adapter
        return {"address": adapter.address, "name": adapter.name} if adapter is not None else None

    def _scanner(self, now: float) -> dict[str, Any]:
        scanner = self.radio.scanner
        heard_at = scanner.heard_at
        return {
            "is_scanning": scanner.is_scanning,
            "heard_s_ago": None if heard_at is None else round(now - heard_at, 1),
            "pauses_for_links": self.radio.pauses_for_links,
            **asdict(scanner.counters),
        }

    def _link(self, turn: Turn, now: float) -> dict[str, Any]:
        link = self.radio.links.get(turn.address)
        known = self.scheduler.advertisers.get(turn.address)
        state = "opening" if not turn.is_open else "unproved"
        if turn.proved_at is not None:
            state = "open" if turn.ending is None else "ending"
        return {
            "address": turn.address,
            "state": state,
            "device_id": turn.who if DEVICE_ID.fullmatch(turn.who) else "",
            "is_joining": bool(turn.who) and not DEVICE_ID.fullmatch(turn.who),
            "for_s": round(now - turn.began_at, 1),
            "rssi": known.rssi_dbm if known is not None else None,
            "chunk_bytes": link.chunk_bytes if link is not None and link.is_connected else 0,
            **(asdict(link.counters) if link is not None else {}),
        }

    def _counters(self) -> dict[str, int]:
        return {
            **asdict(self.scheduler.counters),
            **asdict(self.radio.counters),
            "strangers_refused": self.scheduler.advertisers.refused,
            "abandoned_calls": self.radio.abandoned_calls,
            "bonds_replaced": self.bonds.replaced,
        }


def _waiting(known: Advertiser, now: float) -> dict[str, Any]:
    return {
        "address": known.address,
        "device_id": known.proved if DEVICE_ID.fullmatch(known.proved) else "",  # was last there
        "for_s": round(now - known.waits_since, 1),
        "rssi": known.rssi_dbm,
        "has_data": known.state.has_data,
        "has_commands": known.has_commands,
        "wants_to_join": known.state.wants_to_join,
        "failures": known.failures,
    }
