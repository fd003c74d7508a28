"""The election of the supernode, on a simulated network and clock."""

import pytest

from gateway.cluster.election.heartbeat import Role
from gateway.cluster.election.machine import Election
from gateway.cluster.election.rank import Rank
from tests.unit.gateway.cluster.election.simulation import Network

STABLE_S = 10.0


def settled(count: int, ranks: dict[str, Rank] | None = None) -> Network:
    network = Network(count, ranks)
    network.run(3.0)
    assert len(network.supernodes()) == 1
    assert network.followed() == set(network.supernodes())
    return network


def test_a_node_alone_becomes_the_supernode() -> None:
    network = Network(1)
    network.run(0.4)
    assert network.supernodes() == ["a"]
    assert network.election("a").claim.epoch == 1


def test_an_existing_supernode_wins_over_a_better_one_that_starts() -> None:
    network = settled(2, {"a": Rank(capability=1), "b": Rank(capability=1)})
    (first,) = network.supernodes()
    network.add("c", lambda _: Rank(capability=900))
    network.run(STABLE_S)
    assert network.followed() == {first}


def test_nodes_that_start_together_agree_on_the_best() -> None:
    ranks = {
        "a": Rank(is_stationary=False, capability=900),
        "b": Rank(capability=5),
        "c": Rank(capability=7),
        "d": Rank(capability=7),
    }
    network = Network(4, ranks)
    network.run(2.0)
    assert network.followed() == {"c"}


def test_the_first_successor_takes_over_within_a_second_of_a_kill() -> None:
    network = settled(5)
    assert network.supernodes() == ["a"]
    successors = network.election("e").successors()
    network.kill("a")
    network.run(1.0)
    assert network.supernodes() == [successors[0]]
    assert network.followed() == {successors[0]}
    assert network.election(successors[0]).claim.epoch == 2


def test_a_successor_goes_above_the_epoch_that_its_supernode_has_raised() -> None:
    network = settled(3)
    network.add("d", lambda _: Rank(), 20)  # it has seen a higher epoch in an earlier run
    network.run(3.0)
    (leader,) = network.supernodes()
    epoch = network.election(leader).claim.epoch
    assert epoch > 20
    assert {network.election(each).claim.epoch for each in "abcd"} == {epoch}
    network.kill(leader)
    network.run(1.5)
    (successor,) = network.supernodes()
    assert network.election(successor).claim.epoch > epoch


def test_it_takes_over_within_three_seconds_of_a_power_loss() -> None:
    network = settled(5)
    network.lose_power("a")
    network.run(3.0)
    assert network.followed() == {"b"}


def test_the_next_successor_takes_over_when_the_first_dies_with_the_supernode() -> None:
    network = settled(5)
    first = network.election("e").successors()[0]
    network.lose_power(first)
    network.lose_power("a")
    network.run(4.0)
    assert len(network.supernodes()) == 1
    assert network.followed() == set(network.supernodes())


def test_everybody_dies_but_one() -> None:
    network = settled(5)
    for node_id in "abcd":
        network.lose_power(node_id)
    network.run(8.0)
    assert network.followed() == {"e"}


# case N9
@pytest.mark.parametrize("sides", [("a", "bc"), ("ab", "c"), ("b", "ac")])
def test_halves_of_a_split_network_merge(sides: tuple[str, str]) -> None:
    network = settled(3)
    network.split(*sides)
    network.run(600.0)
    assert len(network.supernodes()) == 2
    epochs = [network.election(i).claim.epoch for i in "abc"]
    network.heal()
    network.run(5.0)
    assert len(network.supernodes()) == 1
    assert network.followed() == set(network.supernodes())
    winner = network.election(network.supernodes()[0])
    assert winner.claim.epoch >= max(epochs)


# case N6: inbound only, then outbound only
@pytest.mark.parametrize("cut", [{("a", "c"), ("b", "c")}, {("c", "a"), ("c", "b")}])
def test_reach_in_one_direction_changes_no_role_of_others(cut: set[tuple[str, str]]) -> None:
    network = settled(3)
    before = {i: len(network.nodes[i].roles) for i in "ab"}
    epoch = network.election("a").claim.epoch
    network.cut |= cut
    network.run(300.0)
    assert {i: len(network.nodes[i].roles) for i in "ab"} == before
    assert network.election("a").claim.epoch == epoch
    heard_by = "a" if ("a", "c") in cut else "c"
    assert network.election(heard_by).one_way
    network.heal()
    network.run(5.0)
    assert network.followed() == {"a"}


# case N10
def test_a_node_that_crowned_itself_alone_yields_to_a_cluster() -> None:
    network = settled(3)
    network.kill("c")
    network.run(5.0)
    network.add("c", lambda _: Rank(capability=900), epoch=7)
    network.split("ab", "c")
    network.run(30.0)
    assert network.supernodes() == ["a", "c"]
    network.heal()
    network.run(2.0)
    assert network.supernodes() == ["a"]
    assert network.followed() == {"a"}
    assert {role for _, role, _, _ in network.nodes["b"].roles[-1:]} == {Role.MEMBER}
    assert network.nodes["b"].roles[-1][2] == "a"
    assert [entry[2] for entry in network.nodes["b"].roles if entry[2]] == ["a"] * sum(
        bool(entry[2]) for entry in network.nodes["b"].roles
    )


# case N7
def test_a_supernode_that_was_stopped_learns_its_demotion_before_it_acts() -> None:
    network = settled(3)
    network.freeze("a")
    network.run(30.0)
    assert network.supernodes() == ["a", "b"]  # it believes so, and says nothing
    network.thaw("a")
    assert network.election("a").role is Role.LISTENING
    network.run(3.0)
    assert network.followed() == {"b"}


# case N7
def test_a_supernode_with_a_stalled_disk_hands_over() -> None:
    network = settled(3)
    network.election("a").note_fitness(is_fit=False, now=network.now)
    network.run(3.0)
    assert network.followed() == {"b"}


def test_an_unfit_supernode_without_a_fit_member_stays() -> None:
    network = settled(2)
    for node_id in "ab":
        network.election(node_id).note_fitness(is_fit=False, now=network.now)
    network.run(30.0)
    assert network.followed() == {"a"}


def test_a_planned_stop_hands_over_first() -> None:
    network = settled(4)
    leaving = network.election("a")
    leaving.stop(network.now)
    assert not leaving.has_left
    network.run(1.0)
    assert leaving.has_left
    assert network.followed() == {"b"}
    assert all(Role.SEEKING not in {e[1] for e in n.roles} for n in network.nodes.values())


def test_a_lone_supernode_stops_at_once() -> None:
    network = settled(1)
    network.election("a").stop(network.now)
    assert network.election("a").has_left


def test_a_successor_whose_own_link_broke_does_not_take_over() -> None:
    network = settled(4)
    network.split("a", "b")
    network.run(60.0)
    assert network.supernodes() == ["a"]
    assert network.election("b").role is Role.SEEKING
    network.heal()
    network.run(3.0)
    assert network.followed() == {"a"}


def test_a_flapping_node_loses_rank() -> None:
    network = settled(3)
    for _ in range(6):
        network.split("ac", "b")
        network.run(4.0)
        network.heal()
        network.run(4.0)
    assert network.election("a").successors()[0] == "c"


def test_a_claim_older_than_one_seen_is_not_followed() -> None:
    old, new = Election("a", 0.0, epoch=1), Election("b", 0.0, epoch=9)
    old.tick(1.0)
    assert old.role is Role.SUPERNODE
    new.hear(old.heartbeat(1.0), 0.1)
    assert new.role is Role.LISTENING
    old.hear(new.heartbeat(1.1), 1.1)
    assert old.claim.epoch == 10
    new.hear(old.heartbeat(1.2), 0.2)
    assert (new.role, new.supernode_id) == (Role.MEMBER, "a")


def test_too_many_peers_are_refused() -> None:
    election = Election("me", 0.0)
    sender = Election("x", 0.0)
    accepted = 0
    for number in range(2000):
        heartbeat = sender.heartbeat(0.0)
        accepted += election.hear(
            type(heartbeat)(f"n{number}", heartbeat.role, heartbeat.claim, heartbeat.rank), 0.0
        )
    assert accepted == 1100
