"""Runs many members of a cluster in one process, each with its own key, links and records.

Usage: python -m tests.hosts.members COUNT HOST SECRET PEER…; SIGTERM ends it, SIGUSR1 prints how
many records of others they have got.

They are ClusterNetwork as a gateway has it, without broker, API and discovery. They say that they
are unfit, so that a gateway leads, also when this process is faster.
"""

import asyncio
import signal
import socket
import sys
import time

from gateway.cluster.election.machine import Election
from gateway.cluster.election.rank import Rank
from gateway.cluster.election.sep_agreement import SepAgreement
from gateway.cluster.links.admission import SecretAdmission
from gateway.cluster.links.frames import RecordChanges
from gateway.cluster.network import ClusterNetwork, NetworkPorts, WaysToCloud, WaysToPeers
from gateway.cluster.records import exchange
from gateway.cluster.records.directory import Copy, Directory
from protocol.keys import new_node_key, new_sealing_key
from protocol.records import NodeRecord, sign_record
from settings.addresses import format_address
from settings.secret import Secret
from web.asgi import Receive, Scope, Send


class CountingCopy(Copy):
    """A copy that counts the records in it, with all others of this process."""

    received = 0

    def take(self, part: RecordChanges, directory: Directory) -> bool:
        CountingCopy.received += len(part.put)
        return super().take(part, directory)


def tell() -> None:
    """Print the count."""
    sys.stdout.write(f"records received: {CountingCopy.received}\n")
    sys.stdout.flush()


async def run(count: int, host: str, secret: Secret, peers: tuple[str, ...]) -> None:
    """Run until SIGTERM."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    loop.add_signal_handler(signal.SIGUSR1, tell)
    tasks = []
    for number in range(count):
        member = make_member(f"m{number}", host, secret, peers)
        tasks.append(asyncio.create_task(member.run(member.listen(host, 0), no_api)))
        await asyncio.sleep(0.02)
    sys.stdout.write("all started\n")
    sys.stdout.flush()
    await ending.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def make_member(name: str, host: str, secret: Secret, peers: tuple[str, ...]) -> ClusterNetwork:
    """Return one member."""
    key, sealing_key = new_node_key(), new_sealing_key().public
    now = time.monotonic()
    election = Election(key.node_id, now, Rank(capability=0))
    election.note_fitness(False, now)
    sep = SepAgreement(key.node_id, now)

    def own_record() -> str:
        supernode_id = election.supernode_id or key.node_id
        record = NodeRecord(key.node_id, name, "1", supernode_id, sealing_key)
        return sign_record(record, key, time.time())

    ports = NetworkPorts(
        own_record=own_record,
        addresses=lambda port: (format_address(host, port),),
        changed=lambda: None,
        moved=lambda _: None,
        stored=lambda _node_id, _signed: None,
        vouch=lambda _node_id, _claim: "",
        vouched=lambda _: None,
        sep=lambda _peer_id, _message: None,
        save_epoch=lambda _: None,
        mqtt_port=lambda: 0,
    )
    admission = SecretAdmission(key.node_id, [secret])
    ways = WaysToPeers(peers, by_multicast=False), WaysToCloud({}, dial_nothing)
    return ClusterNetwork(key, (election, sep), Directory(b"term"), admission, ways, ports)


async def dial_nothing(_host: str, _port: int) -> socket.socket:
    """Find no cloud."""
    raise OSError("there is no cloud")


async def no_api(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Serve nothing."""


if __name__ == "__main__":
    exchange.Copy = CountingCopy  # type: ignore[attr-defined]
    number, host_name, word, *known = sys.argv[1:]
    asyncio.run(run(int(number), host_name, Secret(word), tuple(known)))
