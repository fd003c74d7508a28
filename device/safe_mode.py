"""Keeps a device reachable whose program crashes again and again. Loaded then only.

It joins and stays connected, reports the crashes, and answers the command `restart`; no line of the
program after Device() runs. It tries the program once more after an hour, in case the cause has
gone.
"""

import asyncio

from device.flash import load
from micropython import const

_REPORT_S = const(300)
_RETRY_S = const(3600)
_ANSWER_S = const(2)  # for the reply to reach the gateway


def take_over(device, crashes):
    """Run instead of the program; does not return."""
    print("device: safe mode after %d crashes in a row: the program does not run" % crashes)

    @device.every(_REPORT_S, "crashes")
    def report():
        return crashes

    @device.every(_REPORT_S, "last-crash")
    def trace():
        return load("boots").last_trace() or None

    @device.command("restart")
    async def restart(args):
        asyncio.create_task(_restart(device, 0, _ANSWER_S))

    device.add_task("retry", _restart, (device, device.config.crash_limit - 2, _RETRY_S))
    device.run()


async def _restart(device, crashes, delay_s):
    await asyncio.sleep(delay_s)
    load("boots").forgive(crashes)
    device.board.reset()
