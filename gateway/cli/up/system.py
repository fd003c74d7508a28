"""Starts and ends cloud, gateway and devices as child processes, each after the other."""

import asyncio
import os
from dataclasses import dataclass

import httpx

from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target, read_key
from gateway.cli.errors import CliError
from gateway.cli.up.account import DevelopmentAccount
from gateway.cli.up.boards import Boards
from gateway.cli.up.child import Child
from gateway.cli.up.plan import Plan
from gateway.cli.up.progress import StartProgress
from gateway.cli.up.ready import CloudReady, GatewayReady, parse_cloud_ready, parse_gateway_ready

START_S = 30.0  # a Raspberry Pi from a slow card needs a third of it
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class RunningSystem:
    """The processes and addresses of a running system."""

    cloud: CloudReady
    gateway: GatewayReady
    node_id: str
    account_id: str
    device_ids: tuple[str, ...]


class System:
    """Starts and ends the parts; `died` is done as soon as one of them ends by itself."""

    def __init__(self, plan: Plan, progress: StartProgress) -> None:
        self._plan, self._progress = plan, progress
        self._cloud = Child("cloud", plan.logs / "cloud.log")
        self._gateway = Child("gateway", plan.logs / "gateway.log")
        self._boards = Boards(plan)
        self._tasks: list[asyncio.Task[None]] = []
        self._http = httpx.AsyncClient(timeout=10, trust_env=False)
        self.died: asyncio.Future[CliError] = asyncio.get_running_loop().create_future()
        self.sidecar: SidecarClient | None = None

    async def start(self) -> RunningSystem:
        """Start everything; CliError names the part that fails."""
        cloud = await start_cloud(self._cloud, self._plan, self._progress)
        self._watch(self._cloud)
        gateway = await self._start_gateway(cloud)
        target = Target(gateway.api, read_key(self._plan.api_key))
        self.sidecar = sidecar = SidecarClient(target)
        with self._progress.step("link", "connecting to the cloud") as step:
            await wait_linked(sidecar)
            step.result = "SEP online: the cloud reaches this node"
        account = DevelopmentAccount(cloud.api, self._plan.cloud_state / "dev-password", self._http)
        with self._progress.step("account", "joining the node to the development account") as step:
            account_id = await account.associate(sidecar)
            await account.write_token(self._plan.cloud_token)
            me = await sidecar.rpc("getMe")
            step.result = f"node {me['nodeId'][:12]}… belongs to {account_id}"
        self._tasks.append(asyncio.create_task(account.keep_token(self._plan.cloud_token)))
        device_ids = await self._start_devices(sidecar, gateway)
        return RunningSystem(cloud, gateway, str(me["nodeId"]), account_id, tuple(device_ids))

    async def stop(self) -> None:
        """End everything: devices, then gateway, then cloud."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._boards.stop()
        await self._gateway.stop()
        await self._cloud.stop()
        if self.sidecar is not None:
            await self.sidecar.close()
        await self._http.aclose()

    def kill(self) -> None:
        """End everything at once."""
        self._gateway.kill()
        self._cloud.kill()

    async def _start_gateway(self, cloud: CloudReady) -> GatewayReady:
        with self._progress.step("gateway", "starting") as step:
            ready = await self._gateway.start(
                ["-m", "gateway.cli.serve"],
                self._plan.gateway_environment(os.environ, cloud.api, cloud.mqtt[1]),
                parse_gateway_ready,
                START_S,
            )
            step.result = (
                f"API {ready.api} · MQTT {_show(ready.mqtt)}, "
                "for anyone on this machine, no password needed"
            )
        self._watch(self._gateway)
        return ready

    async def _start_devices(self, sidecar: SidecarClient, gateway: GatewayReady) -> list[str]:
        if not self._plan.devices:
            return []
        with self._progress.step("devices", "joining") as step:
            joining = await self._boards.start(sidecar, gateway.mqtt)
            device_ids = await self._boards.wait_online(sidecar, START_S)
            back = self._plan.devices - joining
            counts = ((joining, "joined with a claim token"), (back, "back with their passwords"))
            step.result = "simulated: " + ", ".join(f"{n} {how}" for n, how in counts if n)
        return device_ids

    def _watch(self, child: Child) -> None:
        async def wait() -> None:
            await child.wait()
            if not self.died.done():
                self.died.set_result(child.death())

        self._tasks.append(asyncio.create_task(wait(), name=f"end of {child.name}"))


async def start_cloud(child: Child, plan: Plan, progress: StartProgress) -> CloudReady:
    """Start the cloud; return its addresses, CliError when it does not start."""
    with progress.step("cloud", "starting") as step:
        ready = await child.start(
            ["-m", "cloud", *plan.cloud_arguments()],
            plan.cloud_environment(os.environ),
            parse_cloud_ready,
            START_S,
        )
        step.result = f"API {ready.api} · MQTT {_show(ready.mqtt)} · relay {_show(ready.relay)}"
    return ready


async def wait_linked(sidecar: SidecarClient) -> None:
    """Return when the cloud reaches the gateway; CliError when it does not get ready."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_S
    while True:
        # a microservice of theirs that fails must not keep people from looking at it
        why = [reason for reason in await sidecar.unready() if not reason.startswith("container ")]
        if not why:
            return
        if loop.time() > deadline:
            raise CliError(f"cannot start: not ready after {START_S:.0f} s: {', '.join(why)}")
        await asyncio.sleep(POLL_S)


def _show(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
