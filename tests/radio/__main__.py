"""Runs a virtual radio: python -m tests.radio. It prints its two ports and ends with its parent.

Bluetooth hosts connect to the first by HCI over TCP, interpreters with the shim to the second.
"""

import asyncio
import logging
import os
import sys

from bumble.link import LocalLink

from tests.radio.controllers import serve_hci
from tests.radio.peripheral import Peripherals


async def main() -> None:
    logging.getLogger("bumble").setLevel(logging.CRITICAL)
    link = LocalLink()  # type: ignore[no-untyped-call]
    hci = await serve_hci(link)
    peripherals = await Peripherals(link).serve()
    ports = [server.sockets[0].getsockname()[1] for server in (hci, peripherals)]
    sys.stdout.write(f"radio: hci {ports[0]}, interpreters {ports[1]}\n")
    sys.stdout.flush()
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110  # nothing tells of a parent that was killed
        await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(main())
