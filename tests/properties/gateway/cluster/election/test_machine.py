"""Elections under random faults: one supernode for each network that holds still."""

from hypothesis import given, note, settings
from hypothesis import strategies as st

from gateway.cluster.election.rank import Rank
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
)
steps = st.lists(st.tuples(faults, st.floats(0.0, 6.0)), max_size=12)


class Story:
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
    story = Story(given_ranks)
    network = story.network
    for (kind, what), seconds in story_steps:
        story.carry_out(kind, what)
        network.run(seconds)
    story.rest()
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
    story = Story(given_ranks)
    network = story.network
    network.run(3.0)
    story.carry_out("split", cut)
    network.run(BOUND_S)
    for side in (0, 1):
        group = [i for i, s in zip(IDS, cut, strict=True) if s == side]
        if group:
            leaders = {network.election(i).supernode_id for i in group}
            assert len(leaders) == 1
            assert leaders <= set(group)
