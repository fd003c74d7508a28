"""A board whose only line is that of its REPL: it is set up over it, and then is a device on it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.client.target import Target
from gateway.cli.devices.provision import ProvisionOptions, provision_board
from gateway.cli.errors import CliError
from settings.secret import Secret
from tests.commands import Person
from tests.device.serial_board import SerialBoard
from tests.mqtt_peer import Mqtt
from tests.programs import until
from tests.system import Gateway

TALKING = """
import sys
from device import Device

device = Device()

@device.every(0.2)
def t():
    print("a program prints", "x" * 300)
    sys.stdout.write("and a line without an end")
    return 1

@device.command
def light(args):
    return args

device.run()
"""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Path]:
    flash = tmp_path / "flash"
    flash.mkdir()
    with SerialBoard(flash, "512K") as board:
        port = tmp_path / "ttyACM0"
        port.symlink_to(board.port)
        yield port


def provision(gateway: Gateway, port: Path, **more: Any) -> None:
    options = ProvisionOptions(str(port), "cellar", link="serial", **more)
    asyncio.run(provision_board(Target(gateway.url, Secret(gateway.key)), options))


@pytest.mark.slow
@pytest.mark.whole_in_any_share
@pytest.mark.timeout(300)
def test_a_board_is_set_up_over_its_repl_and_is_a_device_on_the_same_line(
    tmp_path: Path, port: Path
) -> None:
    main = tmp_path / "main.py"
    main.write_text(TALKING)
    serial = json.dumps([{"path": str(port)}]).replace(":", "=").replace('"path"', "path")
    with Gateway(tmp_path / "node", HECATE_GATEWAY_SERIAL=serial) as gateway:
        elsewhere = tmp_path / "ttyACM1"
        elsewhere.symlink_to("/dev/null")
        with pytest.raises(CliError, match=r"\[\[serial\]\] path = "):
            provision(gateway, elsewhere)  # a port that the gateway does not use
        provision(gateway, port, main=main)
        (link,) = gateway.call("GET", "/devices/v1/links")["data"]
        assert (link["name"], link["state"]) == (f"serial:{port}", "open")
        where = ("--url", gateway.url)
        listed = Person(tmp_path).done("devices", "links", *where, HECATE_API_KEY=gateway.key)
        assert f"serial:{port}" in listed
        assert link["device_id"] in listed
        with Mqtt(gateway.mqtt_port, "api", gateway.key, "owner") as owner:
            prefix = f"devices/{link['device_id']}"
            assert owner.subscribe(f"{prefix}/#")
            until(lambda: len(owner.payloads(f"{prefix}/readings/t")) > 3, "readings")
            owner.publish(f"{prefix}/commands/light", {"id": "c1", "on": True})
            until(lambda: owner.payloads(f"{prefix}/replies/light"), "a reply")
        # the program runs and holds the line; the gateway holds the port
        provision(gateway, port, wait=True)
        (again,) = gateway.call("GET", "/devices/v1/links")["data"]
        assert again["device_id"] == link["device_id"]
        gateway.program.kill()
        gateway.start()
        until(
            lambda: (
                [each["device_id"] for each in gateway.call("GET", "/devices/v1/links")["data"]]
                == [link["device_id"]]
            ),
            "the device is back after a crash of the gateway",
        )
