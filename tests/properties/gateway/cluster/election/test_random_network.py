"""Elections on random networks: what holds meanwhile, and what is left in the end."""

import random
from collections.abc import Callable, Iterator
from itertools import combinations

import pytest

from gateway.cluster.election.heartbeat import EPOCH_LIMIT, Role
from gateway.cluster.election.rank import Rank
from tests.properties.gateway.cluster.election.random_network import Faults, RandomNetwork
from tests.share import part_of

IDS = "abcdefghijkl"
QUIET_S = 20.0  # until one supernode is left
WATCHED_S = 40.0  # further time in which nothing changes
DOUBLED_S = 5.0  # two supernodes with one epoch: a silent way, and a slow one, until they meet
EPOCHS = (0, 0, 0, 1, 5, 50)  # stored by earlier runs

Fault = Callable[[RandomNetwork, random.Random, str, str], None]


def cut(network: RandomNetwork, rng: random.Random, ids: str, _one: str) -> None:
    """Cut ways at random, both ways or one: reach is not transitive then."""
    for _ in range(rng.randint(1, 2 * len(ids))):
        one, two = rng.choice(ids), rng.choice(ids)
        network.cut.add((one, two))
        if rng.random() < 0.5:
            network.cut.add((two, one))


def split(network: RandomNetwork, rng: random.Random, ids: str, _one: str) -> None:
    side = {each for each in ids if rng.random() < 0.5}
    network.cut |= {(x, y) for x in ids for y in ids if (x in side) != (y in side)}


def flap(network: RandomNetwork, _rng: random.Random, ids: str, one: str) -> None:
    for _ in range(10):
        network.cut |= {(one, each) for each in ids} | {(each, one) for each in ids}
        network.run(1.0)
        network.cut = {way for way in network.cut if one not in way}
        network.run(1.0)


def lose_messages(network: RandomNetwork, rng: random.Random, _ids: str, _one: str) -> None:
    network.faults = Faults(
        rng.choice((0.1, 0.3, 0.6)), rng.choice((0.0, 0.3)), rng.choice((0.002, 0.3, 1.5))
    )


FAULTS: tuple[Fault, ...] = (
    cut,
    split,
    flap,
    lose_messages,
    lambda network, _rng, _ids, _one: network.cut.clear(),
    lambda network, _rng, _ids, one: network.end(one, at_once=True),
    lambda network, _rng, _ids, one: network.end(one, at_once=False),
    lambda network, _rng, _ids, one: network.stop(one),
    lambda network, _rng, _ids, one: network.freeze(one),
    lambda network, _rng, _ids, one: network.thaw(one),
    lambda network, rng, _ids, one: network.jump(one, rng.choice((0.6, 1.6, 3.0, 3600.0))),
    lambda network, rng, _ids, one: network.jump(one, -rng.choice((0.6, 1.6, 3.0, 30.0))),
    lambda network, _rng, _ids, one: network.note_fitness(one, is_fit=False),
    lambda network, _rng, _ids, one: network.note_fitness(one, is_fit=True),
)


class RandomStory:
    """Starts nodes, carries faults out, and lets the network become quiet."""

    def __init__(self, seed: int, epochs: tuple[int, ...] = EPOCHS) -> None:
        self.network = RandomNetwork(seed)
        rng = self._rng = self.network.rng
        self.ids = IDS[: rng.randint(2, len(IDS))]
        ranks = [Rank(), Rank(False), Rank(capability=1), Rank(capability=2), Rank(False, 2)]
        is_equal = rng.random() < 0.3
        self._ranks = {i: Rank() if is_equal else rng.choice(ranks) for i in self.ids}
        self._epochs = {i: rng.choice(epochs) for i in self.ids}
        for node_id in self.ids:
            if rng.random() < 0.8:
                self._start(node_id)

    def run(self) -> None:
        for _ in range(self._rng.randint(0, 14)):
            self._epochs |= {i: n.election.claim.epoch for i, n in self.network.nodes.items()}
            one = self._rng.choice(self.ids)
            if self._rng.random() < 0.15:
                self._start(one)
            else:
                self._rng.choice(FAULTS)(self.network, self._rng, self.ids, one)
            self.network.run(self._rng.uniform(0.0, 6.0))

    def rest(self, *, is_whole: bool) -> None:
        """End all faults; some ways stay cut unless the network becomes whole."""
        self.network.faults = Faults()
        self.network.cut.clear()
        if not is_whole:
            cut(self.network, self._rng, self.ids, "")
        unfit = self._rng.choice((0.0, 0.0, 0.5))
        for node_id in list(self.network.nodes):
            self.network.thaw(node_id)
            self.network.note_fitness(node_id, is_fit=self._rng.random() >= unfit)
        self._start("a")  # somebody is there
        self.network.run(QUIET_S)

    def groups(self) -> Iterator[set[str]]:
        """Yield the nodes of each connected part of the network."""
        left = set(self.network.nodes)
        while left:
            group, found = set[str](), {left.pop()}
            while found:
                one = found.pop()
                group.add(one)
                found |= {i for i in left if self.network.both_ways(one, i)}
                left -= found
            yield group

    def _start(self, node_id: str) -> None:
        epoch = self._epochs[node_id] if self._rng.random() < 0.9 else 0  # a new disk
        self.network.start(node_id, self._ranks[node_id], epoch)


def check_history(network: RandomNetwork) -> None:
    for node in network.nodes.values():
        epochs = [epoch for _, _, _, epoch in node.roles]
        assert epochs == sorted(epochs), f"the epoch of {node.node_id} went back"
        for _, role, followed, _ in node.roles:
            assert (followed != "") == (role in (Role.MEMBER, Role.SUPERNODE, Role.LEAVING))


def check_quiet(network: RandomNetwork) -> None:
    before = network.changes()
    network.run(WATCHED_S)
    assert network.changes() == before, "roles change in a quiet network"


def check_group(network: RandomNetwork, group: set[str]) -> None:
    """Check a connected part, in which reach may not be transitive."""
    nodes = {i: network.nodes[i].election for i in group}
    leaders = {i for i, each in nodes.items() if each.role is Role.SUPERNODE}
    pairs = list(combinations(sorted(group), 2))
    assert leaders
    assert not any(network.both_ways(*pair) for pair in pairs if leaders.issuperset(pair))
    for node_id, election in nodes.items():
        assert election.role in (Role.SUPERNODE, Role.MEMBER, Role.SEEKING)
        if election.role is Role.MEMBER:
            assert election.supernode_id in leaders
            assert network.both_ways(node_id, election.supernode_id)
    if all(network.both_ways(*pair) for pair in pairs):
        assert {each.supernode_id for each in nodes.values()} == leaders
        assert len(leaders) == 1


def check_seed(seed: int) -> None:
    for is_whole in (True, False):
        story = RandomStory(seed)
        story.run()
        story.rest(is_whole=is_whole)
        for group in story.groups():
            check_group(story.network, group)
        check_quiet(story.network)
        check_history(story.network)
        assert story.network.doubled_s <= DOUBLED_S


def test_one_supernode_is_left_among_nodes_that_reach_each_other() -> None:
    for seed in range(30):
        check_seed(seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_supernode_is_left_in_many_more_networks() -> None:
    for seed in range(1000, 1000 + part_of(400, least=60)):
        check_seed(seed)


@pytest.mark.parametrize("seed", range(12))
def test_a_network_whose_epochs_have_reached_their_end_still_elects(seed: int) -> None:
    """A member that lies about the epoch, or a broken disk, can bring a cluster there."""
    story = RandomStory(seed, epochs=(0, EPOCH_LIMIT - 1, EPOCH_LIMIT))
    story.run()
    story.rest(is_whole=True)
    (group,) = story.groups()
    check_group(story.network, group)
    check_quiet(story.network)
    check_history(story.network)
    assert all(n.election.claim.epoch <= EPOCH_LIMIT for n in story.network.nodes.values())
