"""`hecate invoke --mqtt` reports a message's fate by the counters of the microservice."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.cli.services import publish
from gateway.cli.services.publish import HANDLED, TRIED_AGAIN, _wait_handled

BEFORE = {"id": "api-probe", "handled": 5, "failed": 1, "retried": 2, "dropped": 0}


def outcome(*changes: dict[str, int]) -> str:
    answers = [BEFORE | change for change in changes]

    async def call(*_: object) -> dict[str, Any]:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    sidecar, request = SimpleNamespace(call=call), SimpleNamespace(response=None)
    return asyncio.run(_wait_handled(cast("Any", sidecar), "probe", BEFORE, cast("Any", request)))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "POLL_S", 0.001)


def test_a_message_is_handled_when_no_handler_is_tried_again() -> None:
    assert outcome({}, {"handled": 6}) == HANDLED


def test_one_handler_that_is_done_does_not_hide_another_that_fails() -> None:
    retried = {"handled": 6, "retried": 3}
    assert outcome(retried, retried, retried | {"failed": 2}) == "its handler failed"


def test_a_handler_that_is_still_tried_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "HANDLED_S", 0.05)
    assert outcome({"handled": 6, "retried": 3}) == TRIED_AGAIN
