"""Describes how a node gets onto the network of its cluster, and when."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a node that stays alone does not load it
    import socket

    from gateway.cluster.network import ClusterNetwork, NetworkPorts

LOOK_S = 1.0  # at what entitles this node to take part


@dataclass(frozen=True, slots=True)
class ClusterEntry:
    """The functions that open the network.

    Attributes:
        is_entitled: whether this node has what admits it; without it no port is open.
        load: loads what the network needs; takes a while, so it may run in a thread.
        build: returns the network.
        listen: opens its port; ClusterError when that cannot be.
        closed: is called when the port is closed.
    """

    is_entitled: Callable[[], bool]
    load: Callable[[], None]
    build: "Callable[[NetworkPorts], ClusterNetwork]"
    listen: "Callable[[ClusterNetwork], socket.socket]"
    closed: Callable[[], None]


async def until(condition: Callable[[], bool]) -> None:
    """Return when a condition holds; accounts and credentials have no event."""
    while not condition():  # noqa: ASYNC110  # see above
        await asyncio.sleep(LOOK_S)


async def run_while(condition: Callable[[], bool], work: Coroutine[Any, Any, None]) -> None:
    """Do work until a condition does not hold any more; raise what the work raises."""
    working = asyncio.create_task(work)
    ending = asyncio.create_task(until(lambda: not condition()))
    try:
        await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, ending):
            task.cancel()
        results = await asyncio.gather(working, ending, return_exceptions=True)
    if isinstance(results[0], BaseException) and not working.cancelled():
        raise results[0]
