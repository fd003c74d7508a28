"""Decides whether the network is to blame for the gateway's silence. Loaded when it is silent.

The board's DNS server is asked, which is the router in most homes. If that is silent as well, the
board restarts its network, more thoroughly each time; if it answers, seldom, because a restart takes
seconds in which a gateway that comes back is not heard.
"""

import time

from device.flash import load
from micropython import const

_TIMEOUTS = const(3)  # of silence, until the network is doubted, and between its restarts
_PATIENT_DOUBTS = const(20)  # with a network that seems to work, until it is restarted all the same


async def doubt(state, board, timeout_ms):
    """Look at a silence; return whether the network was restarted.

    state is [when it began or the network was doubted last, doubts, restarts], or empty at first.
    """
    now = time.ticks_ms()
    if not state:
        state[:] = now, 0, 0
    if time.ticks_diff(now, state[0]) < timeout_ms * _TIMEOUTS:
        return False
    state[0] = now
    state[1] += 1
    server = board.dns()
    is_answered = server is not None and await load("dns").answers(server)
    if is_answered and state[1] % _PATIENT_DOUBTS:
        return False
    state[2] += 1
    return await board.recover_network(state[2])
