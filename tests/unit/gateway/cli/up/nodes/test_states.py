from dataclasses import replace
from pathlib import Path

from rich.console import Console

from gateway.cli.up.nodes.plan import ClusterPlan, plan_nodes
from gateway.cli.up.nodes.screen import render_nodes
from gateway.cli.up.nodes.states import (
    Changes,
    NodeState,
    as_fields,
    is_settled,
    leader_of,
    read_state,
)
from gateway.cli.up.plan import Plan
from settings.secret import Secret

A, B, C = (letter * 56 for letter in "abc")
LEADER = NodeState("node-1", 11, A, "supernode", 1, A, A, (B, C), 3, "online")
FIRST, SECOND = (
    NodeState("node-2", 12, B, "member", 1, A, A, (B, C), 3, "online"),
    NodeState("node-3", 13, C, "member", 1, A, A, (B, C), 3, "online"),
)
STATES = [LEADER, FIRST, SECOND]


def rendered(states: list[NodeState], hint: str = "") -> str:
    out = Console(width=160, highlight=False)
    with out.capture() as captured:
        out.print(render_nodes(states, ["12:00:00  node-1: supernode"], hint))
    return captured.get()


def test_a_state_is_read_from_the_answers_and_stands_missing_fields() -> None:
    cluster = {
        "id": A, "role": "supernode", "epoch": 4, "supernodeId": A, "sepHolderId": A,
        "successors": [B], "members": [{"id": A}, {"id": B}],
    }  # fmt: skip
    state = read_state("node-1", 11, cluster, {"sep": {"state": "online"}})
    assert (state.epoch, state.members, state.uplink, state.leads) == (4, 2, "online", True)
    assert read_state("node-1", 11, {}, {}) == NodeState("node-1", 11)


def test_the_leader_is_the_one_with_the_newest_claim() -> None:
    stale = replace(FIRST, role="supernode", epoch=0)
    assert leader_of([stale, LEADER]) == LEADER
    assert leader_of([LEADER.gone("ended with SIGKILL"), FIRST]) is None
    assert is_settled(STATES)
    assert not is_settled([LEADER, replace(FIRST, supernode_id=B), SECOND])
    assert not is_settled([replace(LEADER, members=2), FIRST, SECOND])


def test_changes_tell_a_take_over_with_its_time_and_nothing_twice() -> None:
    changes = Changes()
    assert len(changes.take(STATES, 1.0)) == 3
    assert changes.take(STATES, 2.0) == []
    gone = [LEADER.gone("ended with SIGKILL"), replace(FIRST, role="seeking"), SECOND]
    first = changes.take(gone, 3.0)
    assert first[0] == "node-1: gone, ended with SIGKILL"
    taken = replace(
        FIRST,
        role="supernode",
        epoch=2,
        supernode_id=B,
        sep_holder_id=B,
        successors=(C,),
        members=2,
    )
    (line,) = changes.take([gone[0], taken, SECOND], 3.6)
    assert line == (
        "node-2: supernode, process 12, epoch 2, 2 nodes, successors node-3, uplink online, "
        "holds the SEP (took over 0.6 s after the end of the supernode)"
    )
    again = changes.take([replace(LEADER, role="member", epoch=2), taken, SECOND], 9.0)
    assert again == ["node-1: member, process 11, epoch 2, uplink online, holds the SEP"]


def test_the_table_tells_roles_successors_and_how_to_kill_the_supernode() -> None:
    text = rendered(STATES, "Ctrl-C ends everything")
    (row,) = [line for line in text.splitlines() if " 11 " in line and "supernode" in line]
    assert "node-2, node-3" in row
    assert "holds it" in row
    assert "kill the supernode: kill -9 11" in text
    assert "Ctrl-C ends everything" in text
    after = rendered([LEADER.gone("ended with SIGKILL"), FIRST, SECOND])
    assert "gone, ended with SIGKILL" in after
    assert "kill -9" not in after


def test_json_has_all_nodes() -> None:
    fields = as_fields(STATES, 12.34567)
    assert fields["at"] == 12.346
    assert [each["role"] for each in fields["nodes"]] == ["supernode", "member", "member"]


def test_each_node_has_its_folder_and_the_addresses_of_all() -> None:
    nodes = plan_nodes(Plan(Path("/s")), 3)
    membership = ClusterPlan(Secret("x" * 32), {"node-1": 1, "node-2": 2, "node-3": 3})
    environments = [each.environment({}, ("http://c", 5), membership) for each in nodes]
    assert len({each["HECATE_GATEWAY_NODE_STATE"] for each in environments}) == 3
    assert {each["HECATE_GATEWAY_CLUSTER_PORT"] for each in environments} == {"1", "2", "3"}
    for each in environments:
        assert each["HECATE_GATEWAY_CLUSTER_PEERS"] == "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"
        assert each["HECATE_GATEWAY_CLUSTER_SECRET"] == "x" * 32
    assert "x" * 32 not in repr(membership)
