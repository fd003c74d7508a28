import pytest

from gateway.cli.errors import CliError
from gateway.cli.services.rollouts import (
    RolloutOptions,
    _node_id,
    _share,
    changed_lines,
    node_rows,
    rollout_row,
)

ATTIC, BARN, OTHER = "a" * 56, "b" * 56, "a1" + "0" * 54
NAMES = {ATTIC: "attic", BARN: "barn", OTHER: ""}
ROLLOUT = {
    "id": "5f2c", "state": "running", "image": "meter-v2", "created": 1_000_000,
    "counts": {"pending": 0, "ready": 1, "failed": 1},
    "nodes": [
        {"id": ATTIC, "state": "ready"}, {"id": BARN, "state": "failed", "error": "no wheel"},
    ],
}  # fmt: skip


def test_nodes_that_need_a_person_come_first() -> None:
    assert node_rows(ROLLOUT, NAMES) == [
        ("b" * 12, "barn", "failed", "no wheel"),
        ("a" * 12, "attic", "ready", ""),
    ]
    row = rollout_row(ROLLOUT, 1_060.0)
    assert row == ("5f2c", "running", "meter-v2", "1 min ago", "1 ready, 1 failed")


def test_a_pipe_gets_a_line_for_each_change_only() -> None:
    seen: dict[str, str] = {}
    assert changed_lines(ROLLOUT, NAMES, seen) == [
        f"{'b' * 12} barn failed no wheel",
        f"{'a' * 12} attic ready",
    ]
    assert changed_lines(ROLLOUT, NAMES, seen) == []


def test_a_node_is_found_by_name_id_or_beginning() -> None:
    assert _node_id(NAMES, "barn") == BARN
    assert _node_id(NAMES, BARN) == BARN
    assert _node_id(NAMES, "a1") == OTHER
    with pytest.raises(CliError, match="several nodes are called so; give the id"):
        _node_id(NAMES, "a")
    with pytest.raises(CliError, match=r"`hecate nodes --cluster account`; there are: attic, barn"):
        _node_id(NAMES, "cellar")


def test_shares_are_numbers_or_percentages() -> None:
    assert (_share("3"), _share("10%")) == (3, "10%")
    assert not RolloutOptions().is_wanted
    assert RolloutOptions(nodes=("barn",)).is_wanted
    assert RolloutOptions(every=True).is_wanted
