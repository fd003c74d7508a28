"""Carries the bytes of peers over TCP or Unix sockets."""

import asyncio
from pathlib import Path
from typing import cast

from tests.faults.peer import USUAL, Peer, Visit

Address = int | Path  # a port of this machine, or a Unix socket


class Wire(asyncio.Protocol):
    """One connection of one peer."""

    def __init__(self, peer: Peer, visit: Visit) -> None:
        self.peer = peer
        self.transport: asyncio.Transport | None = None
        self.is_over = False
        self._visit = visit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # TCP's
        if self.is_over:
            self.transport.abort()
            return
        self.peer.connect(self._visit)
        self.flush()

    def data_received(self, data: bytes) -> None:
        if not self.is_over:
            self.peer.receive(data)
            self.flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.end(polite=False, by_broker=True)

    def flush(self) -> None:
        output = self.peer.take_output()
        if output and self.transport is not None:
            self.transport.write(output)

    def end(self, *, polite: bool, by_broker: bool = False) -> None:
        """Be over, and tell the peer once."""
        if not self.is_over:
            self.is_over = True
            if self.transport is not None:
                self.peer.lost(polite=polite, by_broker=by_broker)


class Sockets:
    """Connects peers to wherever the broker listens now."""

    def __init__(self) -> None:
        self.addresses: dict[str, Address] = {}  # by the peers' places
        self._wires: dict[Peer, Wire] = {}
        self._dialing: set[asyncio.Task[None]] = set()

    def dial(self, peer: Peer, visit: Visit = USUAL) -> None:
        """Connect a peer that has no connection."""
        wire = self._wires[peer] = Wire(peer, visit)
        task = asyncio.get_running_loop().create_task(self._connect(wire))
        self._dialing.add(task)
        task.add_done_callback(self._dialing.discard)

    def hang_up(self, peer: Peer, *, polite: bool) -> None:
        """End its connection, with or without DISCONNECT."""
        wire = self._wires.pop(peer)
        if wire.transport is None:
            wire.end(polite=False)
            return
        if polite:
            peer.disconnect()
            wire.flush()
        wire.end(polite=polite)
        if polite:
            wire.transport.close()
        else:
            wire.transport.abort()

    def flush(self, peer: Peer) -> None:
        """Send what it has to say."""
        wire = self._wires.get(peer)
        if wire is not None and not wire.is_over:
            wire.flush()

    def has_connection(self, peer: Peer) -> bool:
        """Return whether it is connected, or about to be."""
        wire = self._wires.get(peer)
        return wire is not None and not wire.is_over

    @property
    def is_silent(self) -> bool:
        """True when no client has a connection."""
        return not self._dialing and all(wire.is_over for wire in self._wires.values())

    def end_all(self) -> None:
        """Cut all connections."""
        for peer in list(self._wires):
            self.hang_up(peer, polite=False)

    async def _connect(self, wire: Wire) -> None:
        loop, address = asyncio.get_running_loop(), self.addresses[wire.peer.habits.place]
        try:
            if isinstance(address, Path):
                await loop.create_unix_connection(lambda: wire, str(address))
            else:
                await loop.create_connection(lambda: wire, "127.0.0.1", address)
        except OSError:  # the broker is being killed
            wire.is_over = True
