"""Unmodified aioble on the shim: what runs on it behaves as on the module `bluetooth`.

HECATE_AIOBLE names the folder `aioble` of micropython-lib, which no package registry has.
"""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from hardware.radio.hecate_service import LAYOUT, RX, SERVICE, TX
from tests.radio.bleak_backend import make_backend
from tests.radio.central import Central, find_device
from tests.radio.virtual_radio import VirtualRadio, run_board

AIOBLE = os.environ.get("HECATE_AIOBLE", "")
PROGRAM = f"""
import asyncio, bluetooth, aioble

uuid = bluetooth.UUID
service = aioble.Service(uuid("{SERVICE}"))
rx = aioble.Characteristic(service, uuid("{RX}"), write_no_response=True, capture=True)
tx = aioble.Characteristic(service, uuid("{TX}"), notify=True)
layout = aioble.Characteristic(service, uuid("{LAYOUT}"), read=True, initial=b"\\x01")
aioble.config(mtu=517)
aioble.register_services(service)
aioble.core.ble.gatts_set_buffer(rx._value_handle, 512)
DATA = b"\\x02\\x01\\x06\\x13\\x21" + bytes(uuid("{SERVICE}")) + b"\\x00\\x01"

async def echo():
    while True:
        connection, data = await rx.written()
        tx.notify(connection, data)

async def main():
    asyncio.create_task(echo())
    print("on the air")
    while True:
        async with await aioble.advertise(50_000, adv_data=DATA) as connection:
            await connection.disconnected()

asyncio.run(main())
"""


@pytest.mark.skipif(not AIOBLE, reason="HECATE_AIOBLE is not set")
def test_unmodified_aioble_serves_a_central_after_another(
    radio: VirtualRadio, tmp_path: Path
) -> None:
    async def stage(address: str) -> None:
        async with radio.adapters() as adapters:
            await adapters.add()
            backend = make_backend(adapters)
            for _ in range(3):
                async with Central(backend, await find_device(backend, address)) as central:
                    await central.heard.get()  # of the greeting
                    for number in range(20):
                        await central.write(bytes([number]) * 200)
                        assert await central.heard.get() == bytes([number]) * 200

    flash = tmp_path / "board"
    address = radio.equip(flash)
    shutil.copytree(AIOBLE, flash / "lib/aioble")
    with run_board(flash, PROGRAM, heap="256K") as board:
        try:
            board.wait_for("on the air")
            asyncio.run(asyncio.wait_for(stage(address), 60))
        finally:
            board.kill()
