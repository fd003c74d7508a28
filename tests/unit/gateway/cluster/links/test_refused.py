"""The log of refused nodes: one line for each, and a bounded number of them."""

import logging

import pytest

from gateway.cluster.links.refused import LINES, REFUSED_LIMIT, RefusedNodes


def test_strangers_that_make_new_node_ids_fill_neither_the_log_nor_the_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [1000.0]
    refused = RefusedNodes(lambda: now[0])
    with caplog.at_level(logging.INFO):
        for number in range(10_000):
            now[0] += 0.001
            refused.note(f"{number:056d}", "10.0.0.9:1", "it does not know the secret")
    assert len(caplog.messages) <= LINES.burst + 1 + 2 * 10.0 / LINES.interval_s
    assert any("hecate nodes --refused" in line for line in caplog.messages)
    assert (refused.count, len(refused.all())) == (10_000, REFUSED_LIMIT)


def test_a_node_that_comes_later_is_named_again(caplog: pytest.LogCaptureFixture) -> None:
    now = [1000.0]
    refused = RefusedNodes(lambda: now[0])
    with caplog.at_level(logging.INFO):
        for number in range(100):
            refused.note(f"{number:056d}", "10.0.0.9:1", "why")
        now[0] += 60.0
        for _ in range(3):
            refused.note("f" * 56, "10.0.0.8:1", "it shows no credential")
    assert [line for line in caplog.messages if "10.0.0.8" in line] == [
        "refused node ffffffffffff at 10.0.0.8:1: it shows no credential"
    ]
    assert refused.all()[-1].times == 3
