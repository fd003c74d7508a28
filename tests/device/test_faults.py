"""A device in the real interpreter whose surroundings fail in one way at a time."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hardware.simulated import SimulatedBoard, write_private
from tests.aio import until
from tests.device import boards
from tests.device.boards import PREFIX, Packet, ScriptedBroker, joined_board, settings_for

CLAIM = "a-claim-token-4711"
PATIENT: dict[str, Any] = {"timeout_s": 5, "keepalive_s": 30}
Script = Callable[[ScriptedBroker, SimulatedBoard], Awaitable[None]]


def play(
    directory: Path,
    package: Path,
    script: Script,
    program: str = "",
    connack: bytes = boards.CONNACK,
    **settings: Any,
) -> SimulatedBoard:
    """Run a script with a small board and a scripted broker, whose first answer is a CONNACK."""

    async def stage() -> SimulatedBoard:
        async with ScriptedBroker() as broker:
            broker.connack = connack
            board = joined_board(
                directory / "board", settings_for(broker.port, **settings), program, package
            )
            await board.start()
            try:
                await script(broker, board)
            finally:
                await board.stop()
            return board

    return asyncio.run(stage())


def command(name: str, payload: str, packet_id: int, flags: int = 2) -> bytes:
    """Return a PUBLISH of a command."""
    topic = f"{PREFIX}/commands/{name}".encode()
    body = len(topic).to_bytes(2) + topic + packet_id.to_bytes(2) + payload.encode()
    return bytes((0x30 | flags, len(body))) + body


def replies(broker: ScriptedBroker) -> list[dict[str, object]]:
    """Return all replies of a device."""
    sent = [p for n in range(len(broker.connections)) for p in broker.packets(n, boards.PUBLISH)]
    return [json_of(p) for p in sent if "/replies/" in p.topic]


def json_of(packet: Packet) -> dict[str, object]:
    """Return the JSON payload of a PUBLISH at QoS 1."""
    start = 4 + int.from_bytes(packet.body[:2])
    content: dict[str, object] = json.loads(packet.body[start:])
    return content


RETAINED, DUP = 3, 10


# case D4
def test_a_retained_command_never_runs(tmp_path: Path, package: Path) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        broker.after_suback = command("light", '{"id": "c1", "on": true}', 9, RETAINED)
        for number in range(3):
            await until(lambda: len(replies(broker)) > number, "a refusal")  # noqa: B023
            await until(lambda: broker.packets(number, boards.PUBACK), "PUBACK")  # noqa: B023
            broker.writers[-1].close()
        assert board.pid
        os.kill(board.pid, signal.SIGKILL)
        await until(lambda: len(replies(broker)) > 3, "a refusal after the reset")
        assert all("retained" in str(reply["error"]) for reply in replies(broker))
        assert "light on" not in board.log_path.read_text()

    play(tmp_path, package, script)


# case D4
def test_a_command_that_began_before_a_reset_does_not_run_again(
    tmp_path: Path, package: Path
) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        broker.after_suback = command("light", '{"id": "c1", "on": true}', 9)
        broker.acknowledges = False
        await until(lambda: replies(broker), "the reply, which gets no PUBACK")
        broker.acknowledges = True
        broker.after_suback = command("light", '{"id": "c1", "on": true}', 9, DUP)
        assert board.pid
        os.kill(board.pid, signal.SIGKILL)
        await until(lambda: len(replies(broker)) > 1, "another reply")
        assert "before this device was reset" in str(replies(broker)[-1]["error"])
        assert board.log_path.read_text().count("light on") == 1

    play(tmp_path, package, script)


# case D5
def test_only_a_refused_login_makes_it_try_a_claim(tmp_path: Path, package: Path) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        write_private(board.directory / "claim", CLAIM)
        await until(lambda: len(broker.connections) > 2, "three attempts")
        broker.connack = boards.CONNACK
        await until(lambda: any(broker.readings(n) for n in range(99)), "a reading")
        first = [c[0].body for c in broker.connections if c]
        assert not any(CLAIM.encode() in body for body in first)
        assert not (board.directory / "claim").exists()  # of no use, and a secret

    play(tmp_path, package, script, connack=b"\x20\x02\x00\x03")


SLOW = """
import time
from device import Device
device = Device()

@device.every(1)
def slow():
    time.sleep(1.5)
    return 1

@device.every(1)
def slow_too():
    time.sleep(1.5)
    return 1

@device.command
def ping(args):
    return None

device.run()
"""


# case D6
def test_a_slow_sensor_leaves_time_for_the_others(tmp_path: Path, package: Path) -> None:
    async def script(broker: ScriptedBroker, _: SimulatedBoard) -> None:
        broker.after_suback = command("ping", '{"id": 1}', 9)
        await until(lambda: broker.readings(0), "online")
        await until(lambda: replies(broker), "the reply")

    play(tmp_path, package, script, SLOW, **PATIENT)


# case D7
def test_connects_that_time_out_give_their_sockets_back(tmp_path: Path, package: Path) -> None:
    async def stage() -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            fillers = [socket.socket() for _ in range(8)]
            for filler in fillers:  # the queue of the listener is full: SYNs are dropped
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            hasty = settings_for(port, timeout_s=0.1, retry_first_s=0.01, retry_cap_s=0.02)
            board = joined_board(tmp_path / "board", hasty, COUNTING, package)
            await board.start()
            try:
                await until(
                    lambda: "round 30" in boards.output(board),
                    "30 attempts",
                )
                descriptors = os.listdir(f"/proc/{board.pid}/fd")  # noqa: PTH208
                assert len(descriptors) < 10
            finally:
                await board.stop()
                for filler in fillers:
                    filler.close()

    asyncio.run(stage())


COUNTING = """
from device import Device
device = Device()

@device.every(0.05)
def watch():
    print("round", device.link.rounds)

device.run()
"""

LYING = """
import asyncio
from device import Device, wifi
from device.board_unix import Board

class Wlan:
    def isconnected(self):
        return True

    def active(self, on):
        print("active", on)

    def disconnect(self):
        print("disconnect")

class LyingBoard(Board):
    def __init__(self):
        super().__init__()
        self.wlan = Wlan()

    async def connect_network(self, config):
        await wifi.connect_wifi(self.wlan, config)

    async def recover_network(self, step):
        return await wifi.recover_wifi(self.wlan, step, self.reset)

device = Device(board=LyingBoard())

@device.every(0.1)
def t():
    return 1

device.run()
"""


# case D8
def test_a_network_that_lies_is_restarted_step_by_step(tmp_path: Path, package: Path) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        broker.connack = b""
        told = "network restarted, 4 times so far"
        await until(lambda: told in boards.output(board), "four restarts")
        words = ("disconnect", "active False", "active True")
        said = [line for line in boards.output(board).splitlines() if line in words]
        assert said[:6] == [*words, *words]
        broker.connack = boards.CONNACK
        await until(lambda: any(broker.readings(n) for n in range(999)), "a reading")
        assert board.restarts == 0

    hasty: dict[str, Any] = {"retry_first_s": 0.01, "retry_cap_s": 0.02, "refused_cap_s": 0.02}
    play(tmp_path, package, script, LYING, timeout_s=0.1, **hasty)


SILENT_DNS = """
import socket, time
from device import Device, resolver

class Dns:
    asked = 0
    socket, SOCK_STREAM = socket.socket, socket.SOCK_STREAM

    @staticmethod
    def getaddrinfo(host, *more):
        if host == "localhost":
            Dns.asked += 1
            print("dns asked", Dns.asked)
            if Dns.asked > 1:
                time.sleep(3)
                raise OSError(-3)
            host = "127.0.0.1"
        return socket.getaddrinfo(host, *more)

resolver.socket = Dns
device = Device()

@device.every(0.1)
def t():
    return 1

device.run()
"""


# case D11
def test_silent_dns_does_not_stop_a_device_that_knows_the_address(
    tmp_path: Path, package: Path
) -> None:
    async def stage() -> None:
        async with ScriptedBroker() as broker:
            settings = settings_for(broker.port)
            named = settings.__class__(
                "attic", "x", "localhost", broker.port, None, 0.1, settings.more
            )
            board = joined_board(tmp_path / "board", named, SILENT_DNS, package)
            await board.start()
            try:
                await until(lambda: broker.readings(0), "online")
                for number in (1, 2):
                    broker.writers[-1].close()
                    await until(lambda: broker.readings(number), "again")  # noqa: B023
                assert board.pid
                os.kill(board.pid, signal.SIGKILL)
                await until(lambda: broker.readings(3), "after a reset")
                assert board.log_path.read_text().count("dns asked") == 1
            finally:
                await board.stop()

    asyncio.run(stage())


# case D12
def test_broken_files_mend_themselves(tmp_path: Path, package: Path) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: broker.readings(0), "online")
        assert board.pid
        for name in ("config.json", "commands", "address"):
            write_private(board.directory / name, '{"na')
        (board.directory / "queue").mkdir(exist_ok=True)
        write_private(board.directory / "queue/00000001", "broken")
        os.kill(board.pid, signal.SIGKILL)
        await until(lambda: broker.readings(1), "online again")
        assert "not JSON; going on with the last good one" in board.log_path.read_text()
        write_private(board.directory / "config.good", "")
        (board.directory / "config.json").write_bytes(b"\xff\xfe")
        os.kill(board.pid, signal.SIGKILL)
        await until(lambda: "write it again and reset" in boards.output(board), "advice")

    play(tmp_path, package, script)


@pytest.mark.parametrize("content", ["", "{", '{"device_id": 7}', "[]"])
# case D12
def test_broken_credentials_give_way_to_a_claim(
    tmp_path: Path, package: Path, content: str
) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: broker.readings(0), "online")
        assert board.pid
        write_private(board.directory / "credentials.json", content)
        write_private(board.directory / "board-id", "")
        os.kill(board.pid, signal.SIGKILL)
        told = "cannot read credentials.json: joining again"
        await until(lambda: told in boards.output(board), "it joins by approval")
        write_private(board.directory / "claim", CLAIM)
        joining = "$hec/join/unix-"
        await until(
            lambda: any(
                p.topic.startswith(joining)
                for n in range(len(broker.connections))
                for p in broker.packets(n, boards.PUBLISH)
            ),
            "a join request with an id",
        )

    play(tmp_path, package, script)


RAISING = """
from device import Device
device = Device()

@device.every(0.01)
def broken():
    raise RuntimeError("a sensor fell off" * 500)

@device.every(0.1)
def t():
    return device.failures.count

device.run()
"""


# case D15
def test_a_sensor_that_always_fails_is_printed_seldom(tmp_path: Path, package: Path) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(
            lambda: broker.readings(0) and int(str(json_of(broker.readings(0)[-1])["value"])) > 200,
            "200 failures",
        )
        assert board.log_path.read_text().count("Traceback") <= 6  # the 1st, 10th, 100th, …
        assert len(board.log_path.read_bytes()) < 6 * 800

    play(tmp_path, package, script, RAISING)


# case D3
def test_an_error_in_any_task_ends_the_connection_and_is_counted(
    tmp_path: Path, package: Path
) -> None:
    program = """
from device import Device
device = Device()
taken = device.outbox.take_unsent

def take_unsent():
    if device.clock.uptime_s() < 1:
        raise MemoryError()
    return taken()

device.outbox.take_unsent = take_unsent

@device.every(0.1)
def crashes():
    return device.link.crashes

device.run()
"""

    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: any(broker.readings(n) for n in range(99)), "readings at last")
        [number] = [n for n in range(len(broker.connections)) if broker.readings(n)]
        assert number > 0
        assert int(str(json_of(broker.readings(number)[-1])["value"])) >= 1 or number > 0
        assert board.restarts == 0

    play(tmp_path, package, script, program)


COUNTER = """
from device import Device
device = Device()

@device.every({interval})
def count():
    return 1

device.run()
"""


def seqs(broker: ScriptedBroker) -> list[int]:
    """Return the numbers of all readings that came, in order."""
    sent = [p for n in range(len(broker.connections)) for p in broker.readings(n)]
    return [int(str(json_of(p)["seq"])) for p in sent]


@pytest.mark.slow
@pytest.mark.timeout(120)
# case D16
def test_a_flapping_link_loses_no_reading(tmp_path: Path, package: Path) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: broker.readings(0), "online")
        while max(seqs(broker)) < 400:
            before = len(broker.connections)
            broker.connack = b""  # as long as an attempt takes, several times
            broker.writers[-1].close()
            await until(lambda: len(broker.connections) > before + 3, "attempts")  # noqa: B023
            broker.connack = boards.CONNACK
            most = max(seqs(broker))
            await until(lambda: max(seqs(broker)) > most + 100, "readings")  # noqa: B023
        received = set(seqs(broker))
        assert received == set(range(1, max(received) + 1)), board.log_path.read_text()
        assert board.restarts == 0

    play(tmp_path, package, script, COUNTER.format(interval=0.02))


# case D16
def test_a_long_outage_loses_no_reading_within_the_queue(tmp_path: Path, package: Path) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: broker.readings(0), "online")
        broker.connack = b"\x20\x02\x00\x03"
        broker.writers[-1].close()
        queue = board.directory / "queue"
        await until(lambda: len(list(queue.glob("*"))) >= 3, "three segments")
        broker.connack = boards.CONNACK
        await until(lambda: len(seqs(broker)) > 250, "250 readings", timeout_s=20)
        received = seqs(broker)
        assert set(received) == set(range(1, max(received) + 1))
        await until(lambda: len(list(queue.glob("*"))) <= 1, "the segments are removed")

    play(tmp_path, package, script, COUNTER.format(interval=0.01), queue_bytes=32768)


# case D17
def test_a_power_cut_in_an_outage_loses_no_reading(tmp_path: Path, package: Path) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: broker.readings(0), "online")
        broker.acknowledges = False
        broker.connack = b"\x20\x02\x00\x03"
        broker.writers[-1].close()
        last = max(seqs(broker))
        queue = board.directory / "queue"
        await until(lambda: queue.exists() and any(queue.iterdir()), "a segment")
        await until(lambda: queued(queue) and max(queued(queue)) >= last + 6, "six in flash")
        most = max(queued(queue))
        assert board.pid
        os.kill(board.pid, signal.SIGKILL)
        until_reset = seqs(broker)
        await until(lambda: board.restarts, "a reset")
        broker.connack, broker.acknowledges = boards.CONNACK, True
        await until(lambda: len(seqs(broker)) >= len(until_reset) + most - last, "all of them")
        assert set(seqs(broker)) >= set(range(1, most + 1))

    play(tmp_path, package, script, COUNTER.format(interval=0.2))


def queued(queue: Path) -> list[int]:
    """Return the numbers of the readings that lie in flash."""
    found = []
    for segment in sorted(queue.iterdir()):
        for piece in segment.read_bytes().split(b'"seq": ')[1:]:
            found.append(int(piece.split(b",")[0].split(b"}")[0]))
    return found
