import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping
from http import HTTPStatus
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from gateway.http.inprocess import call
from gateway.http.problems import Problem
from gateway.http.routes import anyone, make_api, make_route
from protocol.http_body import HttpRequest, HttpResponse
from web.asgi import Receive, Scope, Send


async def check(request: Request) -> str:
    name = request.headers.get("name", "")
    if not name:
        raise Problem(HTTPStatus.UNAUTHORIZED, "cannot allow this: no name", {"X-Why": "name"})
    return name


async def greet(request: Request, name: str) -> Response:
    return PlainTextResponse(f"{name} {request.path_params['id']}")


async def fail(_request: Request, _caller: None) -> Response:
    raise RuntimeError("fault")


async def decode(_request: Request, _caller: None) -> Response:
    return PlainTextResponse(b"\xff".decode())


async def go_on(_request: Request, _caller: None) -> Response:
    async def lines() -> AsyncIterator[str]:
        while True:
            yield "line"
            await asyncio.sleep(0)

    return StreamingResponse(lines())


async def fallback(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("elsewhere")(scope, receive, send)


API = make_api(
    [
        make_route("GET /a/{id}", check, greet, None),
        make_route("GET /fault", anyone, fail, None),
        make_route("GET /text", anyone, decode, None),
        make_route("GET /endless", anyone, go_on, None),
        make_route("POST /posted", anyone, decode, None),
    ],
    fallback,
)


def ask(method: str, path: str, **headers: str) -> HttpResponse:
    request = HttpRequest(method, path, tuple(headers.items()))
    return asyncio.run(call(API, request, "loopback", 10_000, 5))


def problem(answer: HttpResponse) -> Any:
    assert dict(answer.headers)["content-type"] == "application/problem+json"
    return json.loads(answer.body)["detail"]


def test_a_handler_gets_the_result_of_the_check() -> None:
    assert ask("GET", "/a/1", name="anna").body == b"anna 1"


def test_the_check_comes_before_the_handler() -> None:
    answer = ask("GET", "/a/1")
    assert (answer.status, problem(answer)) == (401, "cannot allow this: no name")
    assert ("x-why", "name") in answer.headers


@pytest.mark.parametrize("method", ["PUT", "POST", "OPTIONS"])
def test_other_methods_of_a_path_are_not_allowed(method: str) -> None:
    answer = ask(method, "/a/1", name="anna")
    assert answer.status == 405
    assert dict(answer.headers)["allow"] == "GET, HEAD"
    assert problem(answer) == f"cannot {method} /a/1: method not allowed"


def test_head_is_answered_like_get_without_content() -> None:
    got, head = ask("GET", "/a/1", name="anna"), ask("HEAD", "/a/1", name="anna")
    assert (head.status, head.headers, head.body) == (200, got.headers, b"")
    assert ask("HEAD", "/a/1").status == 401
    assert ask("HEAD", "/posted").status == 405


def test_head_of_an_answer_without_end_has_an_end() -> None:
    async def run() -> list[str]:
        sent, ended = [], asyncio.Event()

        async def send(event: MutableMapping[str, Any]) -> None:
            sent.append(f"{event['type']} {event.get('body', b'').decode()}")
            if event["type"] == "http.response.body":
                ended.set()

        async def receive() -> MutableMapping[str, Any]:
            await ended.wait()
            return {"type": "http.disconnect"}

        scope = {
            "type": "http", "method": "HEAD", "path": "/endless", "headers": [],
            "query_string": b"",
        }  # fmt: skip
        async with asyncio.timeout(10):
            await API(scope, receive, send)
        return sent

    assert asyncio.run(run()) == ["http.response.start ", "http.response.body "]


@pytest.mark.parametrize("path", ["/", "/a", "/a/", "/a/1/", "/b"])
def test_other_paths_go_to_the_default(path: str) -> None:
    assert ask("GET", path, name="anna").body == b"elsewhere"


def test_a_text_that_is_not_unicode_is_the_callers_fault() -> None:
    answer = ask("GET", "/text")
    assert (answer.status, problem(answer)) == (400, "cannot read request: a text is not Unicode")


def test_a_fault_is_answered_and_raised_for_the_log() -> None:
    with pytest.raises(RuntimeError, match="fault"):
        ask("GET", "/fault")


@pytest.mark.parametrize("path", ["/", "//a/1", "/aa/1", "/A/1", "/a", "/a/1/b", "/b/a/1"])
def test_what_no_route_has_goes_elsewhere(path: str) -> None:
    assert ask("GET", path, name="Ada").body == b"elsewhere"


def test_a_route_may_begin_with_a_parameter() -> None:
    api = make_api([make_route("GET /{id}/b", check, greet, None)], fallback)
    request = HttpRequest("GET", "/7/b", (("name", "Ada"),))
    assert asyncio.run(call(api, request, "loopback", 10_000, 5)).body == b"Ada 7"


def test_a_path_below_a_mount_is_compared_without_it() -> None:
    async def ask_below() -> list[int]:
        scope = {
            "type": "http", "method": "GET", "path": "/mount/a/1", "root_path": "/mount",
            "headers": [], "query_string": b"",
        }  # fmt: skip
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            statuses.append(message.get("status", 0))

        await API(scope, receive, send)
        return statuses

    assert asyncio.run(ask_below())[0] == HTTPStatus.UNAUTHORIZED  # the route's own check
