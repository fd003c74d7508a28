"""Elections under random faults: one supernode for each network that holds still."""

from dataclasses import replace

from hypothesis import given, note, settings
from hypothesis import strategies as st

from gateway.cluster.election.heartbeat import Role, RoleClaim
from gateway.cluster.election.rank import Rank
from gateway.cluster.election.sep_holder import BACK_S, DOWN_S
from protocol.memberships import SepClaim
from tests.unit.gateway.cluster.election.simulation import Network, SimulatedNode

IDS = "abcdef"
BOUND_S = 12.0  # of stillness; the longest seen is below 7 s, with most nodes dead

ranks = st.builds(
    Rank,
    is_stationary=st.booleans(),
    capability=st.integers(0, 3),
)
sides = st.lists(st.integers(0, 1), min_size=len(IDS), max_size=len(IDS))
faults = st.one_of(
    st.tuples(st.just("kill"), st.sampled_from(IDS)),
    st.tuples(st.just("power"), st.sampled_from(IDS)),
    st.tuples(st.just("start"), st.sampled_from(IDS)),
    st.tuples(st.just("freeze"), st.sampled_from(IDS)),
    st.tuples(st.just("thaw"), st.sampled_from(IDS)),
    st.tuples(st.just("unfit"), st.sampled_from(IDS)),
    st.tuples(st.just("fit"), st.sampled_from(IDS)),
    st.tuples(st.just("split"), sides),
    st.tuples(st.just("cut"), st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS)))),
    st.tuples(st.just("heal"), st.none()),
    st.tuples(st.just("offline"), st.sampled_from(IDS)),
    st.tuples(st.just("online"), st.sampled_from(IDS)),
)
steps = st.lists(st.tuples(faults, st.floats(0.0, 6.0)), max_size=12)


class FaultScript:
    """Carries faults out on a network and remembers the highest epochs, as disks do."""

    def __init__(self, given_ranks: dict[str, Rank]) -> None:
        self.network, self._ranks = Network(), given_ranks
        self.epochs: dict[str, int] = {}
        for node_id in IDS:
            self.start(node_id)

    def start(self, node_id: str) -> None:
        if node_id not in self.network.nodes:
            self.network.add(node_id, self._ranks.get, self.epochs.get(node_id, 0))

    def end(self, node_id: str) -> SimulatedNode | None:
        node = self.network.nodes.get(node_id)
        if node is not None:
            self.epochs[node_id] = node.election.claim.epoch
        return node

    def carry_out(self, kind: str, what: object) -> None:
        network, node_id = self.network, str(what)
        node = network.nodes.get(node_id)
        if kind in ("kill", "power") and self.end(node_id):
            (network.kill if kind == "kill" else network.lose_power)(node_id)
        elif kind == "start":
            self.start(node_id)
        elif kind == "freeze" and node:
            network.freeze(node_id)
        elif kind == "thaw" and node and node.is_frozen:
            network.thaw(node_id)
        elif kind in ("fit", "unfit") and node and not node.is_frozen:
            node.election.note_fitness(kind == "fit", network.now)
        elif kind in ("online", "offline") and node:
            network.reach(node_id, reaches=kind == "online")
        elif kind == "split":
            assert isinstance(what, list)
            groups = [
                "".join(i for i, side in zip(IDS, what, strict=True) if side == n) for n in (0, 1)
            ]
            network.split(*groups)
        elif kind == "cut":
            assert isinstance(what, list)
            network.cut |= set(what)
        elif kind == "heal":
            network.heal()

    def rest(self) -> None:
        """Mend everything and let time pass."""
        self.network.heal()
        for node_id, node in list(self.network.nodes.items()):
            if node.is_frozen:
                self.network.thaw(node_id)
            node.election.note_fitness(is_fit=True, now=self.network.now)
        self.start("a")  # somebody is there
        self.network.run(BOUND_S)


@given(st.fixed_dictionaries(dict.fromkeys(IDS, ranks)), steps)
@settings(max_examples=150)
def test_one_supernode_is_left_whatever_happened(
    given_ranks: dict[str, Rank], story_steps: list[tuple[tuple[str, object], float]]
) -> None:
    script = FaultScript(given_ranks)
    network = script.network
    for (kind, what), seconds in story_steps:
        script.carry_out(kind, what)
        network.run(seconds)
    script.rest()
    for node_id, node in network.nodes.items():
        note(f"{node_id}: {node.roles}")
    assert len(network.supernodes()) == 1
    assert network.followed() == set(network.supernodes())
    before = {node_id: len(node.roles) for node_id, node in network.nodes.items()}
    network.run(30.0)
    assert {i: len(n.roles) for i, n in network.nodes.items()} == before
    for node in network.nodes.values():
        epochs = [epoch for _, _, _, epoch in node.roles]
        assert epochs == sorted(epochs)


@given(st.fixed_dictionaries(dict.fromkeys(IDS, ranks)), sides)
@settings(max_examples=100)
def test_each_side_of_a_split_has_one_supernode(
    given_ranks: dict[str, Rank], cut: list[int]
) -> None:
    script = FaultScript(given_ranks)
    network = script.network
    network.run(3.0)
    script.carry_out("split", cut)
    network.run(BOUND_S)
    for side in (0, 1):
        group = [i for i, s in zip(IDS, cut, strict=True) if s == side]
        if group:
            leaders = {network.election(i).supernode_id for i in group}
            assert len(leaders) == 1
            assert leaders <= set(group)


# case N11
@given(st.fixed_dictionaries(dict.fromkeys(IDS, ranks)), steps, st.sets(st.sampled_from(IDS)))
@settings(max_examples=150)
def test_one_node_holds_the_sep_whatever_happened(
    given_ranks: dict[str, Rank],
    story_steps: list[tuple[tuple[str, object], float]],
    online: set[str],
) -> None:
    script = FaultScript(given_ranks)
    network = script.network
    for (kind, what), seconds in story_steps:
        script.carry_out(kind, what)
        network.run(seconds)
    for node_id in network.nodes:
        network.reach(node_id, reaches=node_id in online)
    script.rest()  # also for longer than a delegation takes
    (leader,) = network.supernodes()
    (holder,) = network.holders()
    reaching = {i for i in network.nodes if network.nodes[i].sep.reaches}
    assert holder == leader if not reaching else holder in reaching
    claims = {node.sep.claim for node in network.nodes.values()}
    assert len(claims) == 1
    network.run(BACK_S + BOUND_S)
    assert network.holders() == {leader if leader in reaching or not reaching else holder}


# case N11
def test_the_sep_is_delegated_in_time_and_comes_back_after_a_stable_minute() -> None:
    network = Network(4)
    network.run(3.0)
    assert network.holders() == {"a"}
    network.reach("a", reaches=False)
    network.run(DOWN_S + 0.6)
    assert network.holders() == {"b"}
    network.kill("b")
    network.run(1.0)
    assert network.holders() == {"c"}
    network.reach("a", reaches=True)
    network.run(BACK_S - 1.0)
    assert network.holders() == {"c"}
    network.run(2.0)
    assert network.holders() == {"a"}


def test_nobody_follows_a_claim_of_a_node_that_is_not_the_supernode() -> None:
    network = Network(3)
    network.run(3.0)
    liar = network.nodes["c"]
    claim = SepClaim(99, 9, "c")
    forged = replace(liar.election.heartbeat(network.now), sep=claim)
    for node_id in ("a", "b"):
        node = network.nodes[node_id]
        node.sep.hear(forged, node.election.claim)
        assert node.sep.claim.holder_id == "a"
    as_leader = replace(forged, role=Role.SUPERNODE, claim=RoleClaim(1, "c"))
    network.nodes["b"].sep.hear(as_leader, network.nodes["b"].election.claim)
    assert network.nodes["b"].sep.claim.holder_id == "a"
