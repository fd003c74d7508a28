"""A board that asks DNS itself: nothing else stops meanwhile."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from hardware.simulated import DeviceSettings
from tests.aio import until
from tests.device.boards import ScriptedBroker, joined_board, settings_for

NAME = "gateway.example"
PROGRAM = """
from device import Device
from device.board_unix import Board

class Networked(Board):
    def dns(self):
        return ("127.0.0.1", %d)

device = Device(board=Networked())

@device.every(0.05)
def tick():
    print("tick")
    return 1

device.run()
"""
A_RECORD = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01"
ALIAS = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x06\x03www\xc0\x14"
Answer = Callable[[bytes, int], bytes]


class DnsServer(asyncio.DatagramProtocol):
    """Answers as a function of the question and its number says."""

    def __init__(self, answer: Answer) -> None:
        self.questions: list[bytes] = []
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what sends."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a question."""
        self.questions.append(data)
        answer = self._answer(data, len(self.questions))
        if answer:
            self._transport.sendto(answer, addr)


def records(question: bytes, *answers: bytes, code: int = 0) -> bytes:
    """Return an answer to a question."""
    head = question[:2] + bytes((0x81, 0x80 | code)) + b"\x00\x01" + len(answers).to_bytes(2)
    return head + b"\x00\x00\x00\x00" + question[12:] + b"".join(answers)


def silent_at_first(question: bytes, number: int) -> bytes:
    """Answer the second question."""
    return records(question, ALIAS, A_RECORD) if number > 1 else b""


async def play(directory: Path, package: Path, answer: Answer) -> tuple[DnsServer, str, bool]:
    """Return the server, the board's log and whether it came online, or gave up once."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: DnsServer(answer), ("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    async with ScriptedBroker() as broker:
        settings = settings_for(broker.port)
        named = DeviceSettings("attic", "x", NAME, broker.port, more=dict(settings.more))
        board = joined_board(directory / "board", named, PROGRAM % port, package)
        await board.start()
        try:
            await until(
                lambda: (
                    board.log_path.exists()
                    and (bool(broker.readings(0)) or "offline" in board.log_path.read_text())
                ),
                "an end",
                timeout_s=20,
            )
            return server, board.log_path.read_text(), bool(broker.readings(0))
        finally:
            await board.stop()
            transport.close()


# case D11
def test_it_goes_on_while_dns_is_silent(tmp_path: Path, package: Path) -> None:
    server, log, is_online = asyncio.run(play(tmp_path, package, silent_at_first))
    assert is_online
    assert server.questions[0][12:] == b"\x07gateway\x07example\x00\x00\x01\x00\x01"
    assert len(server.questions) == 2
    # 1.5 s passed between them, in which a sensor of 0.05 s was read
    assert log.partition("online")[0].count("tick") >= 5


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda q, _: records(q, code=3), "it does not know the name"),
        (lambda q, _: records(q), "it has no IPv4 address"),
        (lambda q, _: records(q, A_RECORD[:9]), "it has no IPv4 address"),
        (lambda q, _: q[:2] + b"\x81\x80", "it does not know the name"),
        (lambda q, _: q[:2] + b"\x81\x80\x00\x01\xff\xff" + b"\x3f" * 500, "no IPv4 address"),
    ],
)
def test_bad_answers_are_told(tmp_path: Path, package: Path, answer: Answer, reason: str) -> None:
    _, log, is_online = asyncio.run(play(tmp_path, package, answer))
    assert not is_online
    assert f"offline: cannot find {NAME}: DNS:" in log
    assert reason in log
    assert "Traceback" not in log
