import asyncio

import httpx
import pytest

from gateway.cloud_api.client import CloudApi, classify, read_answer
from gateway.cloud_api.clock import CloudClock
from gateway.errors import CloudRefused, UplinkLost
from protocol.keys import new_node_key


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, CloudRefused),
        (401, CloudRefused),
        (403, CloudRefused),
        (404, CloudRefused),
        (409, CloudRefused),
        (408, UplinkLost),
        (425, UplinkLost),
        (429, UplinkLost),
        (500, UplinkLost),
        (503, UplinkLost),
        (507, UplinkLost),
    ],
)
def test_what_is_worth_another_attempt(status: int, error: type[Exception]) -> None:
    assert isinstance(classify("do it", status, "why"), error)


def test_a_reason_that_names_the_action_too_is_not_said_twice() -> None:
    assert str(classify("list nodes", 400, "cannot list nodes: no position")) == (
        "cannot list nodes: no position"
    )
    assert str(classify("list nodes", 400, "cannot list nodes: ")) == "cannot list nodes: HTTP 400"


def test_a_refusal_carries_the_clouds_reason() -> None:
    response = httpx.Response(403, json={"detail": "cannot allow this: no scope"})
    with pytest.raises(CloudRefused, match=r"^cannot register node: cannot allow this: no scope$"):
        read_answer("register node", response)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"detail": 5}', b""])
def test_a_refusal_without_a_reason(body: bytes) -> None:
    with pytest.raises(CloudRefused, match=r"^cannot x: HTTP 404$"):
        read_answer("x", httpx.Response(404, content=body))


def test_answers() -> None:
    assert read_answer("x", httpx.Response(200, json={"a": 1})) == {"a": 1}
    assert read_answer("x", httpx.Response(204)) == {}
    for body in (b"<html>", b"[]"):
        with pytest.raises(UplinkLost, match="not"):
            read_answer("x", httpx.Response(200, content=body))


def test_a_token_that_ended_while_the_machine_slept_is_renewed() -> None:
    tokens, clock = [], [50.0]

    def answer(request: httpx.Request) -> httpx.Response:
        tokens.append(request.url.path)
        return httpx.Response(200, json={"access_token": f"t{len(tokens)}", "expires_in": 3600})

    async def run() -> None:
        cloud_clock = CloudClock(lambda: 1e9, lambda: clock[0])
        transport = httpx.MockTransport(answer)
        api = CloudApi("http://cloud", new_node_key(), transport, cloud_clock)
        assert (await api.access_token()).reveal() == "t1"
        assert 0.7 * 3600 <= api.renews_in_s <= 0.8 * 3600  # not all nodes at the same time
        clock[0] += 0.5 * 3600
        assert (await api.access_token()).reveal() == "t1"
        clock[0] += 0.5 * 3600
        assert (await api.access_token()).reveal() == "t2"
        await api.close()

    asyncio.run(run())
