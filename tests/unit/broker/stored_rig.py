"""The rig with a store on a simulated disk: written when the test says so, and it may crash."""

from collections.abc import Callable, Sequence
from pathlib import Path

from broker.core import Core
from broker.journal.log import SegmentLog
from broker.journal.record_codec import encode_records
from broker.journal.records import Record, Series
from broker.journal.state import JournalState
from broker.quota.limits import Limits
from broker.wire.packets import MQTT_5, ConnAck, SubAck, Subscribe, Subscription
from broker.wire.property_values import Properties
from tests.integration.broker.journal.simdisk import SimDisk, Snapshot
from tests.unit.broker.rig import Peer, Rig

HERE = Path("journal")
SEGMENT_BYTES = 65_536
WALL_S = 1_000_000_000.0  # ahead of the rig's clock

Done = Callable[[bool], None]
Group = tuple[Sequence[Record | Series], Done | None, bool]


class DiskStore:
    """The log of the journal, without its thread."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.disk = SimDisk.of(snapshot)
        self.image = JournalState()
        self.is_behind = False
        self.pending: list[Group] = []
        self.written: list[Group] = []
        self._log = SegmentLog(self.disk, HERE, SEGMENT_BYTES, synced=True)
        report = self._log.read(self.image)
        assert not report.damages

    def append(
        self, records: Sequence[Record | Series], done: Done | None = None, *, must: bool = False
    ) -> None:
        self.pending.append((records, done, must))

    def commit(self, count: int, *, answer: bool = True) -> None:
        """Write the first groups that wait; without an answer when a crash is to follow."""
        taken, self.pending = self.pending[:count], self.pending[count:]
        if taken:
            self._log.write([encode_records(records) for records, _, _ in taken])
            self.written += taken
        for _, done, _ in taken:
            if done is not None and answer:
                done(True)

    def refuse(self) -> None:
        """Behave as a full disk: refuse what may be refused, write the rest."""
        taken, self.pending = self.pending, []
        for group in taken:
            _, done, must = group
            if done is None or must:
                self.pending.append(group)
            else:
                done(False)


class StoredRig(Rig):
    """A broker that can be killed."""

    def __init__(self, limits: Limits | None = None, *, hot_path: bool = True) -> None:
        super().__init__(limits, hot_path=hot_path)
        self._hot_path = hot_path
        self.wall_ahead_s = WALL_S
        self.boot = ""  # of the machine
        self._start({})

    def _start(self, snapshot: Snapshot) -> None:
        self.asked.clear()
        store = self.store = DiskStore(snapshot)
        self.core = Core(self.rules, self.limits, lambda: None, store, hot_path=self._hot_path)
        self.core.restore(store.image, self.now, self.now + self.wall_ahead_s, self.boot)
        self.core.tick(self.now)

    def commit(self, count: int = 1_000_000) -> None:
        """Let so many groups be safe, all by default, and what follows from that happen."""
        self.settle()
        while self.store.pending and count > 0:
            taken = min(count, len(self.store.pending))
            count -= taken
            self.store.commit(taken)
            self.settle()

    def crash(self, written: int = 0, away_s: float = 0.0) -> None:
        """Kill the broker, some of what waits written but not answered, and start it again."""
        self.store.commit(written, answer=False)
        self.now += away_s
        self._start(self.store.disk.kill())

    def set_wall(self, by_s: float) -> None:
        """Set the wall clock; a running broker notices at its next tick."""
        self.wall_ahead_s += by_s

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.core.note_wall(self.now, self.now + self.wall_ahead_s)
        self.core.tick(self.now)
        self.settle()

    def online(self, client_id: str, version: int = MQTT_5, **options: object) -> Peer:
        """Connect; the session is kept for an hour unless options say otherwise."""
        options.setdefault("clean_start", False)
        if version == MQTT_5:
            options.setdefault("properties", Properties(session_expiry_s=3600))
        peer = self.connect(client_id, version, **options)
        self.commit()
        answer, *peer.kept = peer.take()
        assert isinstance(answer, ConnAck)
        assert answer.code == 0
        self.was_present = answer.session_present
        return peer

    def subscribe(self, peer: Peer, topic_filter: str, qos: int = 1, **options: object) -> None:
        """Subscribe, and see that the answer waits for the disk."""
        subscription = Subscription(topic_filter, qos, **options)  # type: ignore[arg-type]  # test shorthand
        peer.send(Subscribe(1, (subscription,)))
        assert not [each for each in peer.take() if isinstance(each, SubAck)]
        self.commit()
        answer, *rest = sorted(peer.take(), key=lambda each: not isinstance(each, SubAck))
        assert isinstance(answer, SubAck)
        assert answer.codes == (qos,)
        peer.kept = rest
