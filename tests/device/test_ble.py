"""The device's Bluetooth: real interpreters over a virtual radio, with everything that can fail."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from bleak.exc import BleakError

from hardware.radio.hecate_service import RX, TX
from protocol.chunks.wire import Chunk
from tests.programs import Program
from tests.radio.adapters import VirtualAdapter
from tests.radio.bleak_backend import Backend, make_backend
from tests.radio.central import Central, exchange, find_device
from tests.radio.virtual_radio import VirtualRadio, run_board

SESSION = 77
BYTES = bytes(random.Random(4).randbytes(6000))

# A board that returns every byte of the stream; "busy" makes it block, as a slow handler does.
ECHO = """
import asyncio, time
from device.ble import BlePeripheral
from device.chunks import ChunkStream
from device.errors import LinkLost

port = BlePeripheral(WAIT_MS, lambda: print("reset"), ())

async def receive(stream, work):
    while True:
        data = stream.receive(await port.receive())
        if data.startswith(b"busy"):
            time.sleep(0.3)
        elif data.startswith(b"stuck"):
            time.sleep(1)
            await asyncio.sleep_ms(100)
            print("dropped", port.dropped)
        if data:
            stream.send(data)
        work.set()

async def send(stream, work):
    while True:
        work.clear()
        for chunk in stream.poll(time.ticks_ms()):
            await port.send(chunk)
        due = stream.next_due()
        wait = 1000 if due is None else max(due - time.ticks_ms(), 1)
        try:
            await asyncio.wait_for_ms(work.wait(), wait)
        except asyncio.TimeoutError:
            pass

async def main():
    print("on the air")
    while True:
        try:
            await port.connect()
            print("central", port.centrals, "with chunks of", port.chunk_bytes)
            stream, work = ChunkStream(SESSION, port.chunk_bytes), asyncio.Event()
            sender = asyncio.create_task(send(stream, work))
            try:
                await receive(stream, work)
            finally:
                sender.cancel()
        except LinkLost as exc:
            print("lost:", exc)

asyncio.run(main())
"""
PROVING = """
import asyncio
from device.ble import BlePeripheral
from device.errors import LinkLost

port = BlePeripheral(60000, None, ())

async def main():
    print("on the air")
    while True:
        try:
            await port.connect()
            await asyncio.wait_for_ms(port.receive(), 300)
            print("proved")
        except (LinkLost, asyncio.TimeoutError) as exc:
            print("dropped:", repr(exc))

asyncio.run(main())
"""


class Stage:
    """A board, an adapter, and the address of the board."""

    def __init__(
        self, radio: VirtualRadio, adapter: VirtualAdapter, backend: Backend, address: str
    ) -> None:
        self.radio, self.adapter, self.backend, self.address = radio, adapter, backend, address
        self.board: Program

    async def central(self) -> Central:
        return Central(self.backend, await find_device(self.backend, self.address))

    async def wait_for(self, pattern: str) -> str:
        return (await asyncio.to_thread(self.board.wait_for, pattern)).group()


Script = Callable[[Stage], Awaitable[None]]


@pytest.fixture
def play(radio: VirtualRadio, package: Path, tmp_path: Path) -> Callable[..., None]:
    """Give a function that runs a script against one board."""

    def run(script: Script, program: str = ECHO, wait_ms: int = 60_000) -> None:
        flash = tmp_path / "board"
        (flash / "lib").mkdir(parents=True)
        (flash / "lib/device").symlink_to(package)
        address = radio.equip(flash)

        async def stage(board: Program) -> None:
            async with radio.adapters() as adapters:
                adapter = await adapters.add()
                made = Stage(radio, adapter, make_backend(adapters), address)
                made.board = board
                await script(made)

        program = program.replace("WAIT_MS", str(wait_ms)).replace("SESSION", str(SESSION))
        with run_board(flash, program) as board:
            try:
                board.wait_for("on the air")
                asyncio.run(stage(board))
            finally:
                board.kill()

    return run


Play = Callable[..., None]


async def pass_all(stage: Stage, data: bytes = BYTES) -> None:
    async with await stage.central() as central:
        assert await exchange(central, SESSION, data, len(data)) == data


def test_bytes_pass_both_ways_and_link_after_link(play: Play) -> None:
    async def script(stage: Stage) -> None:
        for number in (1, 2, 3):
            await pass_all(stage)
            assert await stage.wait_for("central.*") == f"central {number} with chunks of 244"

    play(script)


# case L7
@pytest.mark.parametrize("direction", ["writes", "notifications"])
def test_bytes_pass_when_chunks_are_lost_repeated_and_swapped(play: Play, direction: str) -> None:
    async def script(stage: Stage) -> None:
        faults = getattr(stage.adapter.faults, direction)
        faults.lost = faults.repeated = faults.swapped = 0.05
        await pass_all(stage)
        assert faults.dropped > 0

    play(script)


@pytest.mark.parametrize("direction", ["writes", "notifications"])
def test_bytes_pass_when_the_mtu_lies(play: Play, direction: str) -> None:
    async def script(stage: Stage) -> None:
        faults = stage.adapter.faults
        getattr(faults, direction).longest = 130
        faults.claimed_mtu = 500
        await pass_all(stage, BYTES[:3000])
        assert getattr(faults, direction).dropped > 0

    play(script)


# case L6
def test_a_device_that_speaks_before_it_is_heard_loses_nothing(play: Play) -> None:
    async def script(stage: Stage) -> None:
        stage.adapter.faults.early_s = 0.2
        for number in range(4):
            await pass_all(stage, bytes([number]) * 100)

    play(script)


# case L7
def test_a_burst_while_a_handler_blocks_arrives_once_and_in_order(play: Play) -> None:
    """The queue of the device holds ten; the window of the stream is four."""

    async def script(stage: Stage) -> None:
        async with await stage.central() as central:
            data = b"busy" + BYTES[:4000]
            assert await exchange(central, SESSION, data, len(data)) == data

    play(script)


def test_more_writes_than_the_queue_holds_are_dropped_and_counted(play: Play) -> None:
    async def script(stage: Stage) -> None:
        async with await stage.central() as central:
            for turn in range(5):  # a busy machine may write too slowly to fill the queue
                await central.write(Chunk(SESSION, turn * 5, 0, b"stuck").encode())
                for number in range(30):
                    await central.write(bytes([number]) * 100)
                if int((await stage.wait_for("dropped.*")).split()[-1]):
                    break
            else:
                raise AssertionError("nothing was dropped")
        await stage.wait_for("lost")
        await pass_all(stage)

    play(script)


def test_serves_one_central_and_drops_another(play: Play) -> None:
    async def script(stage: Stage) -> None:
        async with stage.radio.adapters() as others:
            await others.add("hci9", "F0:00:00:00:00:99")
            backend = make_backend(others)
            device = await find_device(backend, stage.address)
            async with await stage.central() as central:
                stranger = Central(backend, device)
                with pytest.raises((BleakError, TimeoutError)):
                    async with asyncio.timeout(1):
                        await stranger.client.connect()
                data = BYTES[:1000]
                assert await exchange(central, SESSION, data, len(data)) == data

    play(script)


def test_a_board_that_nobody_hears_restarts_its_stack(play: Play) -> None:
    async def script(stage: Stage) -> None:
        await find_device(stage.backend, stage.address)
        await asyncio.to_thread(stage.radio.deafen, stage.address)
        await stage.wait_for("Bluetooth restarted, 1 times")
        for _ in range(10):  # it restarts again and again until a central is there
            with contextlib.suppress(BleakError, TimeoutError):
                async with await stage.central() as central:
                    return await stage_is_well(central)
        raise AssertionError("nobody gets through to the board")

    async def stage_is_well(central: Central) -> None:
        assert await exchange(central, SESSION, BYTES, len(BYTES)) == BYTES

    play(script, wait_ms=700)


def test_a_central_that_proves_nothing_is_dropped(play: Play) -> None:
    async def script(stage: Stage) -> None:
        async with await stage.central() as central:
            await asyncio.wait_for(central.lost.wait(), 30)
        await stage.wait_for("dropped: TimeoutError")
        async with await stage.central() as central:
            await central.write(bytes(7))
            await stage.wait_for("proved")

    play(script, PROVING)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_hostile_centrals_do_not_keep_a_device_from_its_gateway(play: Play) -> None:
    async def script(stage: Stage) -> None:
        chance = random.Random(8)
        for _ in range(20):
            async with await stage.central() as central:
                for _ in range(20):
                    await attack(central, chance)
            await pass_all(stage, BYTES[:300])

    async def attack(central: Central, chance: random.Random) -> None:
        client = central.client
        match chance.randrange(6):
            case 0:
                await client.stop_notify(TX)
            case 1:
                await client.start_notify(TX, lambda _, __: None)
            case 2:  # larger than the buffer, and than a link carries at once
                await client.write_gatt_char(RX, bytes(chance.randrange(512)), response=True)
            case 3:  # looks like a chunk
                await central.write(bytes((SESSION,)) + chance.randbytes(chance.randrange(240)))
            case _:
                for _ in range(30):
                    await central.write(chance.randbytes(chance.randrange(240)))

    play(script)
