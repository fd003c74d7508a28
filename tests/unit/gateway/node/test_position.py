import asyncio

from gateway.node.position import MOVED_M, REPORT_S, NodePosition
from gateway.node.position_reports import PositionReports
from protocol.geo.position import Position

HOME = Position(52.0116, 4.3571)


def north_of_home(metres: float) -> Position:
    return Position(52.0116 + metres / 111_195, 4.3571, "gps")


def test_only_a_node_that_has_moved_is_reported_and_at_most_once_a_minute() -> None:
    position = NodePosition(HOME)
    assert position.move(north_of_home(MOVED_M - 5), 0.0) is None
    assert position.move(north_of_home(MOVED_M + 5), 1.0) == 1.0
    position.note_reported(1.0)
    assert position.move(north_of_home(200), 2.0) == 1.0 + REPORT_S
    assert position.move(north_of_home(300), 90.0) == 90.0
    assert position.current == north_of_home(300)


def test_a_burst_of_positions_is_one_report_of_the_last() -> None:
    async def run() -> None:
        position, told = NodePosition(), asyncio.Event()
        reports: list[Position | None] = []

        def report() -> None:
            reports.append(position.current)
            told.set()

        moving = PositionReports(position, report)
        for metres in range(0, 5000, 50):
            moving.move(north_of_home(metres))
        await told.wait()
        moving.move(north_of_home(9000))
        assert reports == [north_of_home(4950)]

    asyncio.run(run())
