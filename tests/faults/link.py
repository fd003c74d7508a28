"""Kills and stops gateway and cloud in turn while readings go up and commands come down.

The real programs run: `hecate cloud` with its broker, a gateway of the development account. A
device sends readings to the gateway and keeps a session there for commands; an application sends
commands to the cloud's broker and keeps a session there for readings, and is away for some of the
time. A message that was acknowledged at one end must come out at the other, in order. On the way
from one broker to the other a message may be repeated: that is what QoS 1 between them allows.
"""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.events import Got, Taken
from tests.faults.peer import Habits, Peer
from tests.faults.receiver import Finding
from tests.faults.stage import Stage
from tests.programs import PATIENCE
from tests.system import Gateway, restart_cloud, start_cloud

ENDS = ("gateway", "cloud")
CHECKED = {"lost", "session", "order", "changed", "unasked", "cut"}
LIFE_S = (0.5, 1.5)  # of both, in a round
DOWN_S = (0.0, 0.8)  # of one of them
STEP_S = 0.02
AWAY = 0.5  # share of rounds in which the application is away
LINK_S = 20.0 * PATIENCE  # the gateway waits up to 30 s before it dials again


class Site:
    """One cloud and one gateway that belongs to an account of it."""

    def __init__(self, folder: Path) -> None:
        self.cloud = start_cloud(folder / "cloud")
        self.gateway = Gateway(
            folder / "gateway", HECATE_GATEWAY_BROKER_ANONYMOUS="loopback", **self.cloud.environ()
        )
        self.gateway.until_ready()
        self.token = self.cloud.log_in(self.gateway.rpc("getEdgeIdToken")["id_token"])
        self.account = str(self.gateway.rpc("associateAccount", self.token)["accountId"])

    def end(self, which: str, *, gentle: bool) -> None:
        """End one of the programs, by SIGTERM or SIGKILL."""
        program = self.cloud.program if which == "cloud" else self.gateway.program
        if gentle:
            program.stop(timeout_s=30)
        else:
            program.kill()

    def start(self, which: str) -> None:
        """Start it again on what it has left."""
        if which == "cloud":
            self.cloud = restart_cloud(self.cloud)
        else:
            self.gateway.start()

    def stop(self) -> None:
        """End both."""
        for program in (self.gateway.program, self.cloud.program):
            program.stop(timeout_s=30)


class LinkRun:
    """One run."""

    def __init__(self, site: Site, seed: int, ends: tuple[str, ...] = ENDS) -> None:
        self._site = site
        self._ends = ends
        self._chance = random.Random(seed)
        self.stage = Stage(self._chance)
        above = f"nodes/{site.gateway.node_id}/"
        login = (site.account, site.token.encode())
        commands, readings = (("devices/load/commands/#", 1),), (("devices/load/readings/#", 1),)
        self._sends_readings = self._make("sends-readings", Habits(place="gateway"))
        self._device = self._make("device", Habits(place="gateway", filters=commands))
        self._commands = self._make(
            "sends-commands", Habits(place="cloud", prefix=f"{above}down/", login=login)
        )
        self._application = self._make(
            "application", Habits(place="cloud", prefix=above, login=login, filters=readings)
        )
        self._is_away = False

    async def go(self, rounds: int) -> list[Finding]:
        """Run the rounds; let everything arrive; return what was broken."""
        chance, stage = self._chance, self.stage
        self._note_addresses()
        load = asyncio.create_task(self._load())
        try:
            await self._until(lambda: all(peer.granted for peer in self._readers), LINK_S)
            for _ in range(rounds):
                self._is_away = chance.random() < AWAY
                await asyncio.sleep(chance.uniform(*LIFE_S))
                await self._end_and_start(chance.choice(self._ends), gentle=chance.random() < 0.5)
            await asyncio.sleep(LIFE_S[0])
            load.cancel()
            self._is_away = False
            await self._until(self._is_done, LINK_S)
        finally:
            load.cancel()
            stage.sockets.end_all()
            await asyncio.to_thread(self._site.stop)
        return [each for each in stage.findings() if each.rule in CHECKED]

    @property
    def numbers(self) -> str:
        """The numbers of messages, in words."""
        history = self.stage.history
        taken = sum(type(event) is Taken for event in history)
        return f"{taken} messages acknowledged, {sum(type(e) is Got for e in history)} received"

    @property
    def _readers(self) -> tuple[Peer, ...]:
        return (self._device, self._application)

    async def _end_and_start(self, which: str, *, gentle: bool) -> None:
        self.stage.killed()
        await asyncio.to_thread(self._site.end, which, gentle=gentle)
        await asyncio.sleep(self._chance.uniform(*DOWN_S))
        await asyncio.to_thread(self._site.start, which)
        self._note_addresses()

    def _note_addresses(self) -> None:
        site = self._site
        self.stage.sockets.addresses |= {
            "cloud": site.cloud.mqtt_port, "gateway": site.gateway.mqtt_port
        }  # fmt: skip
        self.stage.started(site.gateway.mqtt_port)

    async def _load(self) -> None:
        while True:
            self._dial()
            for peer, topic in (
                (self._sends_readings, "devices/load/readings/a"),
                (self._commands, "devices/load/commands/b"),
            ):
                for _ in range(min(self._chance.randint(0, 2), peer.room)):
                    peer.publish(topic, 1, self._chance.randint(40, 120))
                self.stage.sockets.flush(peer)
            await asyncio.sleep(STEP_S)

    def _dial(self) -> None:
        sockets = self.stage.sockets
        for peer in (self._sends_readings, self._device, self._commands, self._application):
            has_connection = sockets.has_connection(peer)
            if peer is self._application and self._is_away and peer.granted:
                if has_connection:
                    sockets.hang_up(peer, polite=True)
            elif not has_connection:
                sockets.dial(peer)

    def _is_done(self) -> bool:
        self._dial()
        is_settled = all(peer.is_settled for peer in (*self._readers, self._commands))
        return is_settled and not any(self.stage.checker.undelivered())

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until something is true, or for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return
            await asyncio.sleep(STEP_S)

    def _make(self, name: str, habits: Habits) -> Peer:
        return Peer(name, self.stage.record, habits, time.monotonic)
