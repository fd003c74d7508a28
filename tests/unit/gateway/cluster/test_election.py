from gateway.cluster.election import Election, Role


def test_a_node_alone_becomes_supernode_after_listening() -> None:
    election = Election("a", now=0.0, listening_s=1.0)
    election.tick(0.9)
    assert (election.role, election.supernode_id, election.deadline) == (Role.LISTENING, "", 1.0)
    election.tick(1.0)
    assert (election.role, election.supernode_id, election.deadline) == (Role.SUPERNODE, "a", None)


def test_an_existing_supernode_wins() -> None:
    election = Election("a", now=0.0, listening_s=1.0)
    election.heard_supernode("b")
    election.tick(2.0)
    assert (election.role, election.supernode_id) == (Role.MEMBER, "b")


def test_its_own_echo_and_late_comers_change_nothing() -> None:
    election = Election("a", now=0.0, listening_s=1.0)
    election.heard_supernode("a")
    assert election.role is Role.LISTENING
    election.tick(1.0)
    election.heard_supernode("b")
    election.tick(2.0)
    assert (election.role, election.supernode_id) == (Role.SUPERNODE, "a")
