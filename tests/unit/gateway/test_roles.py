import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from gateway import roles
from gateway.cluster.election.heartbeat import Role
from gateway.roles import RoleController, RolePart


@dataclass
class Election:
    """Gives the controller the roles that a test sets."""

    role: Role = Role.LISTENING
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def become(self, role: Role) -> None:
        self.role = role
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    async def next_role(self, known: Role) -> Role:
        while self.role is known:
            await self.changed.wait()
        return self.role


@dataclass
class Part:
    """Records its starts and stops."""

    name: str
    log: list[str]
    stop_s: float = 0.0

    async def run(self) -> None:
        self.log.append(f"+{self.name}")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(self.stop_s)
            self.log.append(f"-{self.name}")


def drive(
    body: Callable[[Election, RoleController, list[str]], Awaitable[None]], **stop_s: float
) -> list[str]:
    log: list[str] = []
    uplink = Part("uplink", log, stop_s.get("uplink", 0.0))
    link = Part("link", log)

    async def run() -> None:
        election = Election()
        parts = [
            RolePart("uplink", frozenset({Role.SUPERNODE}), uplink.run),
            RolePart("link", frozenset({Role.MEMBER}), link.run),
        ]
        controller = RoleController(parts, election.next_role)
        task = asyncio.create_task(controller.run())
        await asyncio.sleep(0)
        await body(election, controller, log)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert controller.running == frozenset()

    asyncio.run(run())
    return log


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # of tasks
            await asyncio.sleep(0.001)


def test_parts_follow_the_role_from_member_to_supernode_and_back() -> None:
    async def body(election: Election, controller: RoleController, log: list[str]) -> None:
        assert controller.running == frozenset()  # LISTENING
        for role, name in (
            (Role.MEMBER, "link"),
            (Role.SUPERNODE, "uplink"),
            (Role.MEMBER, "link"),
        ):
            election.become(role)
            await until(lambda name=name: log[-1:] == [f"+{name}"])  # type: ignore[misc]
            assert controller.running == {name}

    assert drive(body) == ["+link", "-link", "+uplink", "-uplink", "+link", "-link"]


def test_a_part_that_stops_slowly_never_runs_beside_the_next_one() -> None:
    async def body(election: Election, _controller: RoleController, log: list[str]) -> None:
        election.become(Role.SUPERNODE)
        await until(lambda: log == ["+uplink"])
        election.become(Role.MEMBER)
        await until(lambda: log[-1:] == ["+link"])

    assert drive(body, uplink=0.05) == ["+uplink", "-uplink", "+link", "-link"]


def test_a_role_that_changes_back_during_a_stop_is_entered_again() -> None:
    async def body(election: Election, _controller: RoleController, log: list[str]) -> None:
        election.become(Role.SUPERNODE)
        await until(lambda: log == ["+uplink"])
        for _ in range(100):  # a burst
            election.become(Role.MEMBER)
            election.become(Role.SUPERNODE)
        election.become(Role.MEMBER)
        await asyncio.sleep(0.01)
        election.become(Role.SUPERNODE)
        await until(lambda: log[-1:] == ["+uplink"] and len(log) > 1)

    assert drive(body, uplink=0.05) == ["+uplink", "-uplink"] * 2


def test_a_part_that_fails_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "RESTART_S", 0.001)
    starts = 0

    async def fail() -> None:
        nonlocal starts
        starts += 1
        raise ZeroDivisionError

    async def run() -> None:
        election = Election()
        parts = [RolePart("uplink", frozenset({Role.SUPERNODE}), fail)]
        task = asyncio.create_task(RoleController(parts, election.next_role).run())
        await asyncio.sleep(0)
        election.become(Role.SUPERNODE)
        await until(lambda: starts >= 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
