"""Gives any number of Bluetooth hosts a controller each; all controllers hear each other."""

import asyncio

from bumble import hci, ll
from bumble.controller import Controller
from bumble.link import LocalLink
from bumble.transport.common import StreamPacketSink, StreamPacketSource

LOST = hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR


class RadioController(Controller):
    """A controller of bumble that takes whole packets, and that can be switched off."""

    le_acl_data_packet_length = acl_data_packet_length = 251  # 27 would make ten packets of a chunk

    def switch_off(self) -> None:
        """Leave the air: the other ends of all links lose them, as by their supervision timeout."""
        self.le_legacy_advertiser.stop()
        for advertising_set in self.advertising_sets.values():
            advertising_set.stop()
        for connection in list(self.le_connections.values()):
            if self.link.find_le_controller(connection.peer_address) is not None:
                connection.send_ll_control_pdu(ll.TerminateInd(LOST))
        self.le_connections.clear()
        if self in self.link.controllers:
            self.link.remove_controller(self)


class HciConnection(asyncio.Protocol):
    """The HCI of one host; its end takes the controller off the air."""

    def __init__(self, link: LocalLink) -> None:
        self._link = link
        self._source = StreamPacketSource()
        self._controller: RadioController | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        sink = StreamPacketSink(transport)
        self._controller = RadioController("host", self._source, sink, self._link)

    def data_received(self, data: bytes) -> None:
        self._source.data_received(data)

    def connection_lost(self, _: Exception | None) -> None:
        if self._controller is not None:
            self._controller.host = None
            self._controller.switch_off()


async def serve_hci(link: LocalLink) -> asyncio.Server:
    """Accept hosts on a free port of this machine."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: HciConnection(link), "127.0.0.1", 0)
