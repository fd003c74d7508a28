from types import SimpleNamespace
from typing import Any

import pytest

from gateway.cluster.election.heartbeat import Role
from gateway.status import GatewayStatus, StatusSources
from gateway.uplink.link import CloudLinkState


def make_status(role: Role, link: CloudLinkState | None, *containers: Any) -> GatewayStatus:
    """Return the status of a gateway that listens; link is None without a cloud."""
    uplink = SimpleNamespace(link=SimpleNamespace(state=link, error="", since=0.0))
    sources: Any = StatusSources(
        node=SimpleNamespace(),  # type: ignore[arg-type]
        broker=SimpleNamespace(),  # type: ignore[arg-type]
        cluster=SimpleNamespace(role=role, supernode_id="n"),  # type: ignore[arg-type]
        admission=SimpleNamespace(),  # type: ignore[arg-type]
        sensors=SimpleNamespace(),  # type: ignore[arg-type]
        services=SimpleNamespace(is_loaded=True, containers=lambda: containers),  # type: ignore[arg-type]
        tunnel=None,
        cloud=SimpleNamespace(uplink=uplink) if link else None,  # type: ignore[arg-type]
    )
    status = GatewayStatus(sources)
    status.note_broker(["127.0.0.1:1883"])
    return status


@pytest.mark.parametrize(
    ("role", "link", "reasons"),
    [
        (Role.SUPERNODE, CloudLinkState.ONLINE, []),
        (Role.SUPERNODE, None, []),
        (Role.SUPERNODE, CloudLinkState.OFFLINE, ["SEP: offline"]),
        (Role.SUPERNODE, CloudLinkState.REFUSED, ["SEP: refused"]),
        (Role.MEMBER, CloudLinkState.OFFLINE, ["SEP: offline"]),
        (Role.MEMBER, None, []),
        (Role.LISTENING, None, ["cluster: no supernode yet"]),
        (
            Role.LISTENING,
            CloudLinkState.OFFLINE,
            ["cluster: no supernode yet", "SEP: offline"],
        ),
    ],
)
def test_readiness_depends_on_the_role(
    role: Role, link: CloudLinkState | None, reasons: list[str]
) -> None:
    assert make_status(role, link).reasons() == reasons


def test_a_node_without_a_cloud_has_no_link() -> None:
    assert make_status(Role.SUPERNODE, None).sep_state() is CloudLinkState.DISABLED


def test_a_container_that_failed_is_a_reason_and_one_that_was_stopped_is_none() -> None:
    failed = SimpleNamespace(id="a", error="exit code 1", state="failed")
    stopped = SimpleNamespace(id="b", error="", state="stopped")
    status = make_status(Role.SUPERNODE, None, failed, stopped)
    assert status.reasons() == ["container a: exit code 1"]
