"""A peer that acknowledges, in any order, what reached it, over a link that reconnects."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.quota.counters import BrokerCounters
from broker.sessions.inflight import Inflight

WINDOW = 3
MAX_PACKET_ID = 4  # so that ids wrap
HEAD = b"\x32\x05\x00\x01a"


class InflightMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.counters = BrokerCounters()
        self.inflight = Inflight(self.counters, 10_000, 10_000, MAX_PACKET_ID)
        self.output: list[bytes] = []
        self.accepted: list[bytes] = []
        self.open: dict[bytes, bytes] = {}  # id to payload, as the peer knows it
        self.arrived: dict[bytes, bytes] = {}  # on this connection, not acknowledged
        self.seen: list[bytes] = []
        self.window = WINDOW
        self.link = True
        self.number = 0
        self.connect(WINDOW)

    def connect(self, window: int) -> None:
        self.window = window
        self.arrived.clear()
        self.output.clear()
        self.inflight.resume(window, dict(self.inflight.packets))
        self.inflight.open(self.output.append)
        self.link = True

    def pump(self) -> None:
        if self.link:
            self.inflight.send_again(self.output.append)
        for packet in self.output:
            packet_id, payload = packet[len(HEAD) : len(HEAD) + 2], packet[len(HEAD) + 2 :]
            duplicate = bool(packet[0] & 0x08)
            assert duplicate == (packet_id in self.open), "id reused or DUP wrong"
            if duplicate:
                assert self.open[packet_id] == payload
            self.open[packet_id] = payload
            self.arrived[packet_id] = payload
            self.seen.append(payload)
        self.output.clear()

    @rule(count=st.integers(1, 6))
    def offer(self, count: int) -> None:
        payloads = [b"%03d" % (self.number + each) for each in range(count)]
        self.number += count
        taken = self.inflight.offer([(HEAD, payload) for payload in payloads])
        self.accepted += payloads[:taken]
        self.pump()

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        if self.arrived:
            ids = data.draw(st.lists(st.sampled_from(sorted(self.arrived)), unique=True))
            assert self.inflight.acknowledge(ids) == 0
            for packet_id in ids:
                del self.arrived[packet_id], self.open[packet_id]
            self.pump()

    @rule()
    def acknowledge_nothing(self) -> None:
        free = [bytes((0, each)) for each in range(1, 9) if bytes((0, each)) not in self.open]
        assert self.inflight.acknowledge(free) == len(free)

    @rule()
    def lose(self) -> None:
        self.link = False
        self.inflight.pause()

    @rule(window=st.integers(1, WINDOW))
    def reconnect(self, window: int) -> None:
        self.connect(window)
        self.pump()

    @invariant()
    def window_holds(self) -> None:
        assert len(self.open) <= WINDOW
        assert len(self.arrived) <= self.window

    @invariant()
    def bytes_are_accounted(self) -> None:
        size = sum(map(len, self.inflight.packets.values()))
        assert self.inflight.size_bytes == self.counters.queued_bytes == size

    def teardown(self) -> None:
        """A good link at last: everything accepted must arrive."""
        self.connect(WINDOW)
        self.pump()
        while self.arrived:
            ids = list(self.arrived)
            self.inflight.acknowledge(ids)
            for packet_id in ids:
                del self.arrived[packet_id], self.open[packet_id]
            self.pump()
        assert set(self.seen) == set(self.accepted), "an accepted message never arrived"
        first = dict.fromkeys(self.seen)
        assert list(first) == self.accepted, "order was lost"
        assert not self.inflight.packets


InflightMachine.TestCase.settings = settings(deadline=None, stateful_step_count=40)
TestInflight = InflightMachine.TestCase
