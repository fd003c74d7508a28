"""Runs a gateway whose Bluetooth is a virtual radio: `python -m tests.radio.radio_gateway PORT`."""

import asyncio
import os
import sys
from pathlib import Path

from gateway.app import run_gateway
from gateway.config import load_gateway_config
from gateway.logs import configure_logs
from hardware.radio.backend import RadioBackend
from tests.radio.adapters import VirtualAdapters
from tests.radio.bleak_backend import make_backend
from tests.radio.virtual_radio import VirtualRadio
from tests.system import Gateway


class RadioGateway(Gateway):
    """A running gateway with one adapter of a virtual radio."""

    def __init__(self, state: Path, radio: VirtualRadio, **environ: str) -> None:
        self._hci_port = radio.hci_port
        super().__init__(state, HECATE_GATEWAY_BLUETOOTH_ENABLED="true", **environ)

    def command(self) -> tuple[str, ...]:
        """Return what is started."""
        return (sys.executable, "-m", "tests.radio.radio_gateway", str(self._hci_port))


async def run(hci_port: int) -> None:
    """Run until SIGTERM."""
    config = load_gateway_config(None, os.environ)
    configure_logs(config.log.level)
    async with VirtualAdapters(hci_port) as adapters:
        await adapters.add()
        backend = make_backend(adapters)
        await run_gateway(config, RadioBackend(adapters, backend.scanner, backend.client))


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1])))
