"""Runs many members of a cluster in one process: real links and records, no broker and no API.

`python -m benchmarks.cluster.members --count 200 --peers 127.0.0.1:8084` prints a JSON line at each
change: how many members each supernode has registered, how many records of others the members know,
and how many they have received.
"""

import asyncio
import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from gateway.cluster.election.heartbeat import Role
from gateway.cluster.election.machine import Election
from gateway.cluster.election.rank import Rank
from gateway.cluster.election.sep_agreement import SepAgreement
from gateway.cluster.election.state import Timings
from gateway.cluster.links.admission import SecretAdmission
from gateway.cluster.network import ClusterNetwork, NetworkPorts, WaysToCloud, WaysToPeers
from gateway.cluster.records.directory import Directory
from gateway.tunnel.dial import dial_tcp
from hardware.boot_clock import boot_time
from protocol.keys import new_node_key, new_sealing_key
from protocol.records import NodeRecord, sign_record
from settings.addresses import format_address
from settings.secret import Secret
from web.asgi import Receive, Scope, Send

HOST = "127.0.0.1"
LOOK_S, FINE_S = 0.02, 0.002
DISCOVERY_S = 20.0
WEAK = Rank(is_stationary=False, capability=0)  # so that the gateways lead
# All members share one processor: they listen longer before they would lead, and beat less often.
PATIENT = Timings(listening=5.0, patience=5.0, heartbeat=1.0, silence=10.0)
STAGGER_S = 0.01  # between starts


class CountingDirectory(Directory):
    """A directory that counts the records that others have sent."""

    received = 0

    def put(self, signed: str, sender_id: str = "") -> NodeRecord | None:
        self.received += not sender_id
        return super().put(signed, sender_id)


class SimulatedMember:
    """One member."""

    def __init__(
        self,
        secret: Secret,
        ways: WaysToPeers,
        sealing: bytes,
        host: str = HOST,
        timings: Timings | None = None,
    ) -> None:
        self._key = key = new_node_key()
        self._sealing, self._host = sealing, host
        now = boot_time()
        self._election = Election(key.node_id, now, WEAK, timings=timings)
        self.directory = CountingDirectory(secrets.token_bytes(16))
        self.network = ClusterNetwork(
            key,
            (self._election, SepAgreement(key.node_id, now)),
            self.directory,
            SecretAdmission(key.node_id, [secret]),
            (ways, WaysToCloud({}, dial_tcp)),
            NetworkPorts(
                own_record=self._record,
                addresses=lambda port: (format_address(host, port),),
                changed=self._publish,
                moved=lambda _addresses: None,
                stored=lambda _id, _record: None,
                vouch=lambda _id, _claim: "",
                vouched=lambda _statement: None,
                sep=lambda _id, _message: None,
                save_epoch=lambda _epoch: None,
                mqtt_port=lambda: 0,
            ),
        )

    async def run(self, wait_s: float) -> None:
        """Take part, after a pause, until cancelled."""
        await asyncio.sleep(wait_s)
        await self.network.run(self.network.listen(self._host, 0), _nothing)

    @property
    def has_found(self) -> bool:
        """True when it knows the address of another node."""
        return any(True for _ in self.network.candidates.due(boot_time(), (), ()))

    @property
    def has_joined(self) -> bool:
        """True when it follows another node."""
        return self._election.role is Role.MEMBER

    @property
    def node_id(self) -> str:
        """Its node id."""
        return self._key.node_id

    @property
    def leads(self) -> bool:
        """True when it is the supernode."""
        return self._election.role is Role.SUPERNODE

    @property
    def epoch(self) -> int:
        """The epoch of the claim that it follows."""
        return self._election.claim.epoch

    @property
    def others_known(self) -> int:
        """The records of other nodes that it has got."""
        return max(0, len(self.directory) - 1)

    def _publish(self) -> None:
        self.network.exchange.publish()

    def _record(self) -> str:
        node_id = self._key.node_id
        supernode_id = self._election.supernode_id or node_id
        record = NodeRecord(node_id, f"m{node_id[:8]}", "1", supernode_id, self._sealing)
        return sign_record(record, self._key, time.time())


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Serve nothing: nobody calls simulated members."""


async def run_members(count: int, secret: Secret, peers: tuple[str, ...], host: str) -> None:
    """Run members until cancelled; print what has changed."""
    sealing = new_sealing_key().public
    ways = WaysToPeers(peers, by_multicast=False)
    members = [SimulatedMember(secret, ways, sealing, host, PATIENT) for _ in range(count)]
    async with asyncio.TaskGroup() as group:
        for number, member in enumerate(members):
            group.create_task(member.run(number * STAGGER_S))
        said: dict[str, Any] = {}
        while True:
            state = summarize(members)
            if state != said:
                said = state
                sys.stdout.write(json.dumps({"at": time.time(), **state}) + "\n")
                sys.stdout.flush()
            await asyncio.sleep(LOOK_S)


def summarize(members: Sequence[SimulatedMember]) -> dict[str, Any]:
    """Return the numbers of members by the supernode that has registered them, and of records."""
    registered = Counter(member.network.exchange.registered_at for member in members)
    del registered[""]
    return {
        "registered": dict(registered),
        "records": sum(member.others_known for member in members),
        "received": sum(member.directory.received for member in members),
    }


async def discover(rounds: int, secret: Secret, host: str) -> None:
    """Print, for each of some new nodes, how long it took to find and to join a supernode."""
    sealing = new_sealing_key().public
    for _ in range(rounds):
        member = SimulatedMember(secret, WaysToPeers(), sealing, host)
        began, found_s = time.monotonic(), 0.0
        running = asyncio.create_task(member.run(0.0))
        async with asyncio.timeout(DISCOVERY_S):
            while not member.has_joined:
                found_s = found_s or (time.monotonic() - began if member.has_found else 0.0)
                await asyncio.sleep(FINE_S)
        joined_s = time.monotonic() - began
        line = {"found_s": found_s or joined_s, "joined_s": joined_s}
        sys.stdout.write(json.dumps(line) + "\n")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def members(
    secret: Annotated[str, typer.Option(envvar="HECATE_GATEWAY_CLUSTER_SECRET")],
    count: Annotated[int, typer.Option(min=1, max=2000)] = 1,
    peers: Annotated[str, typer.Option(help="HOST:PORT, comma-separated.")] = "",
    rounds: Annotated[
        int, typer.Option("--discover", help="New nodes that look for a supernode by multicast.")
    ] = 0,
    host: Annotated[str, typer.Option(help="The own address.")] = HOST,
) -> None:
    """Run simulated members."""
    if rounds:
        asyncio.run(discover(rounds, Secret(secret), host))
    else:
        asyncio.run(run_members(count, Secret(secret), tuple(peers.split(",")), host))


if __name__ == "__main__":
    app()
