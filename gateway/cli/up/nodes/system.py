"""Starts and ends a cloud and the gateways of a cluster as child processes."""

import asyncio
import secrets
import socket

import httpx

from gateway.cli.errors import CliError
from gateway.cli.up.account import DevelopmentAccount
from gateway.cli.up.child import Child
from gateway.cli.up.nodes.node import START_S, ClusterNode
from gateway.cli.up.nodes.plan import ClusterPlan, plan_nodes
from gateway.cli.up.nodes.states import NodeState, is_settled, leader_of
from gateway.cli.up.plan import HOST, Plan
from gateway.cli.up.progress import StartProgress
from gateway.cli.up.ready import CloudReady
from gateway.cli.up.system import POLL_S, start_cloud, wait_linked
from settings.secret import Secret

SECRET_BYTES = 24


class ClusterSystem:
    """The cloud and the gateways; `died` is done when the cloud ends by itself."""

    def __init__(self, plan: Plan, count: int, progress: StartProgress) -> None:
        self._plan, self._progress = plan, progress
        self._cloud_child = Child("cloud", plan.logs / "cloud.log")
        self.nodes = [ClusterNode(each) for each in plan_nodes(plan, count)]
        names = [node.plan.name for node in self.nodes]
        self._membership = ClusterPlan(
            Secret(secrets.token_urlsafe(SECRET_BYTES)),  # of this run
            dict(zip(names, _free_ports(count), strict=True)),
        )
        self._cloud: CloudReady | None = None
        self._watching: asyncio.Task[None] | None = None
        self._http = httpx.AsyncClient(timeout=10, trust_env=False)
        self.died: asyncio.Future[CliError] = asyncio.get_running_loop().create_future()

    def states(self) -> list[NodeState]:
        """Return the state of each node."""
        return [node.state for node in self.nodes]

    async def start(self) -> None:
        """Start everything; return when the nodes are one cluster, CliError when they do not."""
        self._cloud = await start_cloud(self._cloud_child, self._plan, self._progress)
        self._watching = asyncio.create_task(self._watch_cloud(), name="end of cloud")
        with self._progress.step("nodes", f"starting {len(self.nodes)} gateways") as step:
            await asyncio.gather(
                *(node.start(self._cloud, self._membership) for node in self.nodes)
            )
            step.result = " · ".join(f"{each.plan.name} {each.url}" for each in self.nodes)
        with self._progress.step("account", "joining the development account") as step:
            step.result = f"all belong to {await self._join_account(self._cloud)}"
        with self._progress.step("cluster", "electing a supernode") as step:
            leader = await self._wait_settled()
            step.result = f"{leader.name} is the supernode of {leader.members} nodes"

    async def start_again(self) -> None:
        """Start the nodes that have ended."""
        if self._cloud is not None:
            for node in self.nodes:
                if node.has_ended:
                    await node.start(self._cloud, self._membership)

    async def stop(self) -> None:
        """End everything: the gateways, then the cloud."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await asyncio.gather(*(node.stop() for node in self.nodes))
        await self._cloud_child.stop()
        await self._http.aclose()

    def kill(self) -> None:
        """End everything at once."""
        for node in self.nodes:
            node.kill()
        self._cloud_child.kill()

    async def _join_account(self, cloud: CloudReady) -> str:
        account = DevelopmentAccount(cloud.api, self._plan.cloud_state / "dev-password", self._http)
        account_id = ""
        for node in self.nodes:
            if node.sidecar is not None:
                await wait_linked(node.sidecar)
                account_id = await account.associate(node.sidecar)
        return account_id

    async def _wait_settled(self) -> NodeState:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_S
        while True:
            states = self.states()
            leader = leader_of(states)
            if leader is not None and is_settled(states):
                return leader
            if loop.time() > deadline:
                roles = ", ".join(f"{each.name} {each.role or 'starts'}" for each in states)
                raise CliError(f"cannot form a cluster within {START_S:.0f} s: {roles}")
            await asyncio.sleep(POLL_S)

    async def _watch_cloud(self) -> None:
        await self._cloud_child.wait()
        if not self.died.done():
            self.died.set_result(self._cloud_child.death())


def _free_ports(count: int) -> list[int]:
    """Return free ports: each node has to know those of the others before they start."""
    held = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
