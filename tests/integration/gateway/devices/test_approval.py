"""Boards without a claim token wait for a person."""

from pathlib import Path
from typing import Any

from tests.integration.gateway.device_peer import log_in
from tests.mqtt_peer import Mqtt
from tests.programs import until
from tests.system import Gateway

SECRET = "a-secret-that-the-board-made"


class Board(Mqtt):
    """A board that asks for approval, as often as it is told to."""

    def __init__(self, gateway: Gateway, client_id: str, secret: str = "") -> None:
        secret = secret or f"{SECRET}-{client_id}"
        super().__init__(gateway.mqtt_port, "join", secret, client_id)
        self.board_id = client_id

    def ask(self, name: str = "lamp") -> dict[str, Any]:
        """Send a join request; return the answer."""
        assert self.is_in, self.reason
        assert self.subscribe(f"$hec/join/{self.board_id}/response")
        seen = len(self.messages)
        self.publish(f"$hec/join/{self.board_id}/request", {"name": name, "model": "paho"})
        return self.answer(seen)

    def answer(self, number: int) -> dict[str, Any]:
        """Return an answer of the gateway once it has come."""
        until(lambda: len(self.messages) > number, "the gateway answers")
        answer: dict[str, Any] = self.payloads()[number]
        return answer


def approve(gateway: Gateway, code: str, **wish: Any) -> dict[str, Any]:
    answer: dict[str, Any] = gateway.call("POST", f"/devices/v1/pending/{code}/approve", json=wish)
    return answer


def pending(gateway: Gateway) -> dict[str, dict[str, Any]]:
    return {b["board"]: b for b in gateway.call("GET", "/devices/v1/pending")["data"]}


def test_a_board_joins_when_a_person_approves_its_code(lone: Gateway) -> None:
    with Board(lone, "pa-1") as board:
        code = board.ask()["pending"]
        shown = pending(lone)["pa-1"]
        assert (shown["code"], shown["state"], shown["name"]) == (code, "pending", "lamp")
        approved = approve(lone, code, name="hall")
        credentials = board.answer(1)
        assert credentials["device_id"] == approved["device_id"]
    with log_in(lone, credentials):
        device = lone.call("GET", f"/devices/v1/devices/{approved['device_id']}")
        assert (device["name"], device["state"], device["online"]) == ("hall", "approved", True)
    assert "pa-1" not in pending(lone)


def test_a_board_that_was_away_joins_when_it_asks_again(lone: Gateway) -> None:
    with Board(lone, "pa-2") as board:
        code = board.ask()["pending"]
    approved = approve(lone, code.replace("-", ""))
    with Board(lone, "pa-2") as board:
        assert board.ask()["device_id"] == approved["device_id"]


def test_an_approved_board_that_lost_the_answer_asks_again_until_it_was_in(lone: Gateway) -> None:
    with Board(lone, "pa-3") as board:
        approve(lone, board.ask()["pending"])
        first = board.answer(1)
    with Board(lone, "pa-3") as board:
        second = board.ask()
    assert second["device_id"] == first["device_id"]
    log_in(lone, second).close()
    with Board(lone, "pa-3") as thief:  # its secret is worth nothing any more
        answer = thief.ask()
    assert "device_id" not in answer
    assert answer["known_as"] == first["device_id"]


def test_nobody_else_gets_the_answer_of_an_approved_board(lone: Gateway) -> None:
    with Board(lone, "pa-4") as board, Board(lone, "pa-4", "another-boards-secret") as thief:
        code, other = board.ask()["pending"], thief.ask()["pending"]
        assert code != other
        answer = lone.ask("POST", "/devices/v1/pending/pa-4/approve", json={})
        assert answer.status_code == 409
        assert code in answer.json()["detail"]
        approve(lone, code)
        board.answer(1)
        assert thief.subscribe("$hec/join/pa-4/response")
        assert len(thief.messages) == 1
        lone.call("DELETE", f"/devices/v1/pending/{other}")


def test_a_refused_board_is_told_and_stays_out(lone: Gateway) -> None:
    with Board(lone, "pa-5") as board:
        code = board.ask()["pending"]
        lone.call("DELETE", f"/devices/v1/pending/{code}")
        assert "refused" in board.answer(1)["error"]
        assert board.lost.wait(5)
    with Board(lone, "pa-5") as board:
        assert "refused" in board.ask()["error"]
    assert pending(lone)["pa-5"]["state"] == "denied"


def test_a_board_that_waits_reaches_nothing_else(lone: Gateway) -> None:
    with Board(lone, "pa-6") as board:
        board.ask()
        for wanted in ("#", "devices/#", "devices/pending", "$hec/join/+/response", "$hec/#"):
            assert not board.subscribe(wanted)
        assert not board.subscribe("$hec/join/pa-7/response")
        for topic in ("devices/x/status", "$hec/join/pa-7/request", "$hec/join/pa-6/response"):
            assert not board.publish(topic, "x")


def test_a_login_without_a_real_secret_is_refused(lone: Gateway) -> None:
    for secret in ("", "short", "x" * 129):
        with Mqtt(lone.mqtt_port, "join", secret, "pa-8") as board:
            assert not board.is_in


def test_a_reset_board_becomes_the_same_device_again(lone: Gateway) -> None:
    with Board(lone, "pa-9") as board:
        approve(lone, board.ask()["pending"])
        old = board.answer(1)
    device_id = old["device_id"]
    lone.call("PATCH", f"/devices/v1/devices/{device_id}", json={"groups": ["lights"]})
    with Board(lone, "pa-9", f"{SECRET}-after-the-reset") as board:
        answer = board.ask("lamp again")
        assert answer["known_as"] == device_id
        assert pending(lone)["pa-9"]["known_as"] == device_id
        with log_in(lone, old):  # another board with this id is at work
            busy = lone.ask("POST", f"/devices/v1/pending/{answer['pending']}/approve", json={})
            assert busy.status_code == 409
            assert "is online" in busy.json()["detail"]
        until(
            lambda: not lone.call("GET", f"/devices/v1/devices/{device_id}")["online"], "it is away"
        )
        assert approve(lone, answer["pending"])["device_id"] == device_id
        fresh = board.answer(1)
    assert fresh["device_id"] == device_id
    with Mqtt(lone.mqtt_port, device_id, old["password"], device_id) as stale:
        assert not stale.is_in
    log_in(lone, fresh).close()
    device = lone.call("GET", f"/devices/v1/devices/{device_id}")
    assert (device["name"], device["groups"]) == ("lamp", ["lights"])


def test_a_board_can_become_another_device(lone: Gateway) -> None:
    with Board(lone, "pa-10") as board:
        first = approve(lone, board.ask()["pending"])
        board.answer(1)
    with Board(lone, "pa-10", f"{SECRET}-after-another-reset") as board:
        second = approve(lone, board.ask()["pending"], new=True)
        board.answer(1)
    assert first["device_id"] != second["device_id"]


def test_applications_see_the_boards_that_wait(lone: Gateway) -> None:
    with Mqtt(lone.mqtt_port, "api", lone.key, "watcher") as watcher, Board(lone, "pa-11") as board:
        assert watcher.subscribe("devices/#")
        code = board.ask("porch")["pending"]

        def newest() -> list[dict[str, str]]:
            told = watcher.payloads("devices/pending")
            return told[-1]["newest"] if told and told[-1] else []

        until(lambda: code in [each["code"] for each in newest()], "the board is announced")
        device_id = approve(lone, code)["device_id"]
        until(lambda: code not in [each["code"] for each in newest()], "it waits no more")
        about = until(lambda: watcher.payloads(f"devices/{device_id}/about"), "it is a device")
        assert (about[-1]["name"], about[-1]["state"]) == ("porch", "approved")


def test_decisions_survive_a_power_cut(tmp_path: Path) -> None:
    with Gateway(tmp_path / "node") as gateway:
        with Board(gateway, "one") as one, Board(gateway, "two") as two:
            first, second = one.ask()["pending"], two.ask()["pending"]
        device_id = approve(gateway, first)["device_id"]
        gateway.program.kill()
        gateway.start()
        assert {b: row["state"] for b, row in pending(gateway).items()} == {
            "one": "approved", "two": "pending"
        }  # fmt: skip
        assert pending(gateway)["two"]["code"] == second  # the person at the board still sees it
        with Board(gateway, "one") as one:
            credentials = one.ask()
        assert credentials["device_id"] == device_id
        gateway.program.kill()  # between the answer and the first login
        gateway.start()
        with log_in(gateway, credentials):
            assert gateway.ask("POST", f"/devices/v1/devices/{device_id}/revoke").is_success
        gateway.program.kill()
        gateway.start()
        with Mqtt(gateway.mqtt_port, device_id, credentials["password"], device_id) as again:
            assert not again.is_in
        assert gateway.call("GET", f"/devices/v1/devices/{device_id}")["state"] == "revoked"


def test_a_gateway_may_want_claim_tokens_only(tmp_path: Path) -> None:
    with Gateway(tmp_path / "node", HECATE_GATEWAY_DEVICES_APPROVAL="false") as gateway:
        with Board(gateway, "pa-12") as board:
            assert not board.is_in
        assert "board-1" not in pending(gateway)


def test_a_flood_of_boards_is_bounded(tmp_path: Path) -> None:
    with Gateway(tmp_path / "node") as gateway:
        admitted = 0
        for number in range(50):  # all from one address, in a burst
            with Board(gateway, f"flood-{number}") as board:
                if board.is_in:
                    admitted += 1
                    board.ask()
        assert 32 <= admitted < 45
        lists = gateway.call("GET", "/devices/v1/pending")
        assert len(lists["data"]) == admitted
        assert lists["refused"] == 50 - admitted
