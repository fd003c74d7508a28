"""Makes random faults in a test network, and tells its true state."""

import random
import time
from collections.abc import Callable, Sequence

from tests.hosts.faults import Faults, split
from tests.hosts.gateways import HostGateway
from tests.hosts.network import Network
from tests.hosts.recorder import Recorder

Groups = Sequence[Sequence[HostGateway]]


class RandomFaults:
    """One fault at a time, each followed by its end; all nodes run and reach each other between.

    Args:
        seconds: how long a fault lasts.
        restart_cloud: one more fault; None without a cloud.
    """

    def __init__(
        self,
        network: Network,
        gateways: Sequence[HostGateway],
        recorder: Recorder,
        chance: random.Random,
        seconds: float,
        restart_cloud: Callable[[], None] | None = None,
    ) -> None:
        self._network, self._gateways, self._recorder = network, list(gateways), recorder
        self._chance, self._seconds, self._restart_cloud = chance, seconds, restart_cloud
        self.made: list[str] = []

    def names(self) -> list[str]:
        """Return the faults that there are."""
        with_cloud = [self._restart_the_cloud] if self._restart_cloud else []
        faults = (
            self._kill, self._lose_power, self._freeze, self._split, self._cut_one_way,
            self._lose_packets, self._flap, self._stop, *with_cloud,
        )  # fmt: skip
        return [each.__name__.lstrip("_") for each in faults]

    def make(self, name: str) -> None:
        """Make a fault and end it."""
        self.made.append(name)
        getattr(self, f"_{name}")()
        self._recorder.note_groups(self._gateways)

    def _one(self) -> HostGateway:
        """Choose a node; every other time the supernode, whose loss matters most."""
        any_of_all = self._chance.choice(self._gateways)
        if self._chance.random() < 0.5:
            return any_of_all
        return next(
            (each for each in self._gateways if each.cluster()["role"] == "supernode"), any_of_all
        )

    def _without(self, lost: HostGateway) -> list[HostGateway]:
        return [each for each in self._gateways if each is not lost]

    def _kill(self) -> None:
        lost = self._one()
        lost.program.kill()
        self._recorder.note_stop(lost)
        self._recorder.note_groups(self._without(lost))
        time.sleep(self._seconds)
        self._recorder.note_groups()
        lost.start()

    def _lose_power(self) -> None:
        lost = self._one()
        lost.lose_power()
        self._recorder.note_stop(lost)
        self._recorder.note_groups(self._without(lost))
        time.sleep(self._seconds)
        self._recorder.note_groups()
        lost.get_power()

    def _stop(self) -> None:
        lost = self._one()
        self._recorder.note_groups()
        lost.stop()
        self._recorder.note_stop(lost)
        lost.start()

    def _freeze(self) -> None:
        """Let a node sleep; what it believes meanwhile is nobody's concern."""
        lost = self._one()
        lost.freeze()
        self._recorder.note_groups(self._without(lost))
        time.sleep(self._seconds)
        self._recorder.note_groups()
        lost.wake()

    def _split(self) -> None:
        mixed = self._chance.sample(self._gateways, len(self._gateways))
        at = self._chance.randrange(1, len(mixed))
        halves = mixed[:at], mixed[at:]
        self._network.set_faults(split(*([g.host.number for g in half] for half in halves)))
        self._recorder.note_groups(*halves)
        time.sleep(self._seconds)
        self._network.set_faults()

    def _cut_one_way(self) -> None:
        lost = [self._one().host.number]
        self._recorder.note_groups()
        self._network.set_faults(
            Faults(deaf=lost) if self._chance.random() < 0.5 else Faults(mute=lost)
        )
        time.sleep(self._seconds)
        self._network.set_faults()

    def _lose_packets(self) -> None:
        self._network.set_faults(Faults(loss_percent=self._chance.randrange(1, 10)))
        self._recorder.note_groups()
        time.sleep(self._seconds)
        self._network.set_faults()

    def _flap(self) -> None:
        lost = self._one()
        self._recorder.note_groups()
        for _ in range(4):
            lost.host.link("down")
            time.sleep(self._chance.uniform(0.1, self._seconds / 4))
            lost.host.link("up")
            time.sleep(self._chance.uniform(0.1, 1.0))

    def _restart_the_cloud(self) -> None:
        assert self._restart_cloud is not None
        self._restart_cloud()
