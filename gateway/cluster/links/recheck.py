"""Looks at the proofs behind links again and again: they are renewed, and they expire."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

from gateway.cluster.links.admission import PeerAdmission
from gateway.cluster.links.frames import Hello, NotAdmitted
from gateway.cluster.links.link import PeerLink

RECHECK_S = 60.0
RECHECKED_AT_ONCE = 20  # links, before others get the loop: each may need a signature's check


async def recheck(
    links: Collection[PeerLink], own_hello: Callable[[str], Hello], admission: PeerAdmission
) -> list[tuple[PeerLink, str]]:
    """Show renewed proofs of this node, and end links whose peer's proof has expired.

    Args:
        links: all of them.
        own_hello: returns the first frame of this node for a peer, by its id.
        admission: judges the proofs of peers.

    Returns:
        The links that were ended, each with the reason.
    """
    refused = []
    for number, link in enumerate(links, 1):
        link.greet_again(own_hello(link.peer_id))
        if reason := admission.refuse(link.peer_id, link.peer_proof):
            link.send(NotAdmitted(reason))
            refused.append((link, reason))
        if number % RECHECKED_AT_ONCE == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*(link.close() for link, _ in refused))
    return refused


async def recheck_for_ever(look: Callable[[], Awaitable[None]]) -> None:
    """Call a function every RECHECK_S until cancelled."""
    while True:
        await asyncio.sleep(RECHECK_S)
        await look()
