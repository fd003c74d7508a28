"""In any order of events no connection is lost, and none is served twice."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cloud.relay.actions import Action, AnswerPreface, Close, Cut, Join, Reject, SendFrame
from cloud.relay.beps import RelayedBeps, RelayGrant
from cloud.relay.limits import RelayLimits
from protocol.preface import FrameType, PrefaceStatus

LIMITS = RelayLimits(
    beps=2, ready=2, waiting=2, streams=3, revocations=2,
    wait_s=10, need_s=3, grace_s=30, idle_s=60, ping_s=15, pong_s=5, revoked_s=100,
)  # fmt: skip
ids = st.sampled_from(["one", "two", "three"])


class Connections(RuleBasedStateMachine):
    """The io around Beps, as a model: where every connection is."""

    def __init__(self) -> None:
        super().__init__()
        self.beps: RelayedBeps[int] = RelayedBeps(LIMITS)
        self.now = 0.0
        self.last = 0
        self.where: dict[int, str] = {}  # control, ready, waiting, joined
        self.bep_of: dict[int, str] = {}

    def connect(self, bep_id: str) -> int:
        self.last += 1
        self.bep_of[self.last] = bep_id
        return self.last

    def some(self, place: str, data: Any) -> int | None:
        there = [number for number, at in self.where.items() if at == place]
        return data.draw(st.sampled_from(there)) if there else None

    def do(self, actions: list[Action[int]]) -> None:
        for action in actions:
            match action:
                case AnswerPreface(number, status):
                    if status is not PrefaceStatus.ACCEPTED:
                        del self.where[number]
                case SendFrame(control, kind, value):
                    assert self.where[control] == "control"
                    assert kind is not FrameType.NEED or value > 0
                case Join(visitor, data):
                    assert self.where[visitor] == "waiting"
                    assert self.where.pop(data) == "ready"
                    assert self.bep_of[visitor] == self.bep_of[data]
                    self.where[visitor] = "joined"
                case Reject(visitor, _, _):
                    assert self.where.pop(visitor) == "waiting"
                case Close(number):
                    assert self.where.pop(number) in ("control", "ready")
                case Cut(visitor):
                    assert self.where.pop(visitor) == "joined"
                    self.beps.stream_ended(visitor, 1, self.now)

    @rule(bep_id=ids, lasts_s=st.integers(1, 200), node=st.sampled_from("aaab"))
    def open(self, bep_id: str, lasts_s: int, node: str) -> None:
        number = self.connect(bep_id)
        self.where[number] = "control"
        self.do(self.beps.open(number, RelayGrant(bep_id, node, lasts_s), self.now))

    @rule(bep_id=ids, node=st.sampled_from("aaab"))
    def offer(self, bep_id: str, node: str) -> None:
        number = self.connect(bep_id)
        self.where[number] = "ready"
        self.do(self.beps.offer(number, RelayGrant(bep_id, node, 100)))

    @rule(bep_id=ids)
    def visit(self, bep_id: str) -> None:
        number = self.connect(bep_id)
        self.where[number] = "waiting"
        self.do(self.beps.visit(number, bep_id, self.now))

    @rule(data=st.data(), place=st.sampled_from(["control", "ready"]))
    def lose(self, data: Any, place: str) -> None:
        number = self.some(place, data)
        if number is not None:
            del self.where[number]
            self.beps.lost(number, self.now)

    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        number = self.some("joined", data)
        if number is not None:
            del self.where[number]
            self.beps.stream_ended(number, 1, self.now)

    @rule(data=st.data())
    def find_the_data_connection_dead(self, data: Any) -> None:
        number = self.some("joined", data)
        if number is not None:
            self.where[number] = "waiting"
            self.do(self.beps.retry(number, self.now))

    @rule(data=st.data())
    def answer_ping(self, data: Any) -> None:
        number = self.some("control", data)
        if number is not None:
            self.beps.pong(number)

    @rule(bep_id=ids)
    def revoke(self, bep_id: str) -> None:
        self.do(self.beps.revoke(bep_id, self.now))
        gone = [at for number, at in self.where.items() if self.bep_of[number] == bep_id]
        assert gone == []

    @rule(pause_s=st.integers(0, 40))
    def wait(self, pause_s: int) -> None:
        self.now += pause_s
        self.do(self.beps.tick(self.now))

    @invariant()
    def counts_agree_and_bounds_hold(self) -> None:
        snapshot = {bep.id: bep for bep in self.beps.snapshot(lambda _: 0, 0)}
        assert len(snapshot) <= LIMITS.beps
        held = [at for at in self.where.values() if at != "waiting"]
        assert self.beps.connections == len(held)
        for bep_id in ("one", "two", "three"):
            places = [at for number, at in self.where.items() if self.bep_of[number] == bep_id]
            ready, waiting = places.count("ready"), places.count("waiting")
            joined = places.count("joined")
            assert not (ready and waiting)
            assert ready <= LIMITS.ready
            assert waiting <= LIMITS.waiting
            assert waiting + joined <= LIMITS.streams
            assert places.count("control") <= 1
            bep = snapshot.get(bep_id)
            assert (ready, joined) == ((bep.ready, bep.visitors) if bep else (0, 0))
            assert bep or not places

    def teardown(self) -> None:
        self.do(self.beps.stop())
        assert self.where == {}


TestConnections = Connections.TestCase
