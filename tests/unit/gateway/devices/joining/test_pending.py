from collections.abc import Iterator

from gateway.devices.joining.pending import (
    DECIDED_S,
    DENIED_LIMIT,
    PENDING_LIMIT,
    SILENT_S,
    SOURCE_LIMIT,
    SOURCE_RATE,
    PendingBoard,
    PendingBoards,
    PendingState,
)

STEP_S = SOURCE_RATE.interval_s  # the rate lets every board in


def codes() -> Iterator[str]:
    for number in range(1_000_000):
        yield f"{number // 2:06}"  # each comes twice: a code in use is not given again


def make_boards() -> PendingBoards:
    return PendingBoards([], codes().__next__)


def ask(boards: PendingBoards, digest: str, address: str, now: float) -> PendingBoard | None:
    board = boards.ask(digest, f"board-{digest}", address, now)
    if board is not None:
        boards.describe(digest, "lamp", "pico")
    return board


def test_a_board_is_found_by_its_code_or_id_once_it_has_a_name() -> None:
    boards = make_boards()
    board = boards.ask("a", "board-a", "10.0.0.1", 0.0)
    assert board is not None
    assert boards.find(board.code) == []
    boards.describe("a", "lamp", "pico")
    ask(boards, "b", "10.0.0.1", 0.0)
    assert [b.digest for b in boards.find("000-000")] == ["a"]
    assert [b.digest for b in boards.find("000 001")] == ["b"]
    assert [b.digest for b in boards.find("board-b")] == ["b"]
    assert boards.find("none") == []
    assert boards.ask("a", "another-id", "10.0.0.1", 1.0) is None  # a secret is of one board


def test_boards_with_one_id_are_told_apart_by_their_codes() -> None:
    boards = make_boards()
    for digest in ("a", "b"):
        boards.ask(digest, "same", "10.0.0.1", 0.0)
        boards.describe(digest, "lamp", "")
    assert len(boards.find("same")) == 2
    assert len({b.code for b in boards.find("same")}) == 2


def test_what_a_board_says_after_the_decision_changes_nothing() -> None:
    boards = make_boards()
    ask(boards, "a", "10.0.0.1", 0.0)
    boards.approve("a", "dev-1", "cellar", 1.0)
    boards.describe("a", "kitchen", "other")
    board = boards.get("a")
    assert board is not None
    assert (board.name, board.model, board.state) == ("cellar", "pico", PendingState.APPROVED)


def test_a_crowd_from_one_address_pushes_only_itself_out() -> None:
    boards = make_boards()
    honest = ask(boards, "honest", "10.0.0.1", 0.0)
    boards.approve(str(honest and honest.digest), "dev-1", "lamp", 0.0)
    ask(boards, "waiting", "10.0.0.2", 0.0)
    for number in range(4 * PENDING_LIMIT):
        ask(boards, f"x{number}", "10.6.6.6", STEP_S * number)
    assert len(boards) == SOURCE_LIMIT + 2
    assert boards.get("honest") is not None
    assert boards.get("waiting") is not None
    assert boards.get(f"x{4 * PENDING_LIMIT - 1}") is not None  # the newest are kept
    assert boards.get("x0") is None
    assert len(boards.take_removed()) == 4 * PENDING_LIMIT - SOURCE_LIMIT
    assert boards.take_removed() == []


def test_a_burst_is_limited_by_rate_and_by_number() -> None:
    boards = make_boards()
    for number in range(10_000):
        ask(boards, f"x{number}", f"10.{number % 7}.0.{number % 251}", 0.0)
    assert len(boards) == 64
    assert boards.refused == 10_000 - 64


def test_many_addresses_share_the_places() -> None:
    boards = make_boards()
    ask(boards, "alone", "10.0.0.1", 0.0)
    for number in range(2 * PENDING_LIMIT):
        ask(boards, f"x{number}", f"10.1.0.{number % 8}", STEP_S * number)
    assert len(boards) == PENDING_LIMIT
    assert boards.get("alone") is not None  # the address with the most boards makes room


def test_a_decided_board_never_makes_room() -> None:
    boards = make_boards()
    for number in range(PENDING_LIMIT):
        ask(boards, str(number), f"10.2.{number}.1", STEP_S * number)
        boards.approve(str(number), f"dev-{number}", "n", STEP_S * number)
    assert ask(boards, "late", "10.3.0.1", STEP_S * PENDING_LIMIT) is None
    assert len(boards) == PENDING_LIMIT


def test_denials_are_bounded() -> None:
    boards = make_boards()
    for number in range(3 * DENIED_LIMIT):
        ask(boards, str(number), f"10.2.{number}.1", STEP_S * number)
        boards.deny(str(number), STEP_S * number)
    assert len(boards) == DENIED_LIMIT


def test_silence_and_old_decisions_end() -> None:
    boards = make_boards()
    ask(boards, "silent", "10.0.0.1", 0.0)
    ask(boards, "approved", "10.0.0.1", 0.0)
    boards.approve("approved", "dev-1", "n", 0.0)
    ask(boards, "asks", "10.0.0.1", SILENT_S)
    boards.remove_old(SILENT_S + 1)
    assert [b.digest for b in boards.all()] == ["approved", "asks"]
    # an approval is not renewed by asking
    assert boards.ask("approved", "board-approved", "10.0.0.1", DECIDED_S) is not None
    fresh = boards.ask("approved", "board-approved", "10.0.0.1", DECIDED_S + 1)
    assert fresh is not None
    assert fresh.state is PendingState.WAITING


def test_a_decision_that_cannot_be_stored_is_taken_back() -> None:
    boards = make_boards()
    ask(boards, "a", "10.0.0.1", 0.0)
    before = boards.get("a")
    assert before is not None
    boards.approve("a", "dev-1", "n", 1.0)
    boards.restore(before)
    assert boards.find("000000")[0].state is PendingState.WAITING
