"""Runs one gateway of the cluster and reads its state."""

import asyncio
import os
from dataclasses import replace

from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target, read_key
from gateway.cli.errors import CliError
from gateway.cli.up.child import Child
from gateway.cli.up.nodes.plan import ClusterPlan, NodePlan
from gateway.cli.up.nodes.states import NodeState, read_state
from gateway.cli.up.ready import CloudReady, parse_gateway_ready

START_S = 30.0
LOOK_S = 0.2  # often enough to see a take-over, which takes half a second
SILENT_S = 1.5


class ClusterNode:
    """One gateway; it can be started again after its end."""

    def __init__(self, plan: NodePlan) -> None:
        self.plan = plan
        self._child = Child(plan.name, plan.log)
        self._reading: asyncio.Task[None] | None = None
        self.sidecar: SidecarClient | None = None
        self.url = ""
        self.state = NodeState(plan.name)

    @property
    def has_ended(self) -> bool:
        """True when its process has ended by itself."""
        return bool(self.state.end)

    async def start(self, cloud: CloudReady, membership: ClusterPlan) -> None:
        """Start it; CliError when it does not get ready."""
        await self._forget()
        self._child = Child(self.plan.name, self.plan.log)
        self.plan.plan.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.state = NodeState(self.plan.name)
        ready = await self._child.start(
            ["-m", "gateway.cli.serve"],
            self.plan.environment(os.environ, (cloud.api, cloud.mqtt[1]), membership),
            parse_gateway_ready,
            START_S,
        )
        self.url = ready.api
        self.sidecar = SidecarClient(Target(ready.api, read_key(self.plan.plan.api_key)), SILENT_S)
        self.state = replace(self.state, pid=self._child.pid)
        self._reading = asyncio.create_task(self._follow(self._child, self.sidecar))

    async def stop(self) -> None:
        """End it."""
        await self._forget()
        await self._child.stop()

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()

    async def _forget(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self.sidecar is not None:
            await self.sidecar.close()
        self._reading = self.sidecar = None

    async def _follow(self, child: Child, sidecar: SidecarClient) -> None:
        """Read its state until its process has ended."""
        looking = asyncio.create_task(self._look(child, sidecar))
        try:
            await child.wait()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        self.state = self.state.gone(child.end())

    async def _look(self, child: Child, sidecar: SidecarClient) -> None:
        while True:
            try:
                cluster = await sidecar.call("read cluster", "GET", "/cluster/v1")
                status = await sidecar.call("read status", "GET", "/status/v1")
                self.state = read_state(self.plan.name, child.pid, cluster, status)
            except CliError:
                self.state = self.state.silent()
            await asyncio.sleep(LOOK_S)
