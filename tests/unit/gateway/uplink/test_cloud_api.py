import httpx
import pytest

from gateway.errors import LinkLost, Refused
from gateway.uplink.cloud_api import classify, read_answer


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, Refused),
        (401, Refused),
        (403, Refused),
        (404, Refused),
        (409, Refused),
        (408, LinkLost),
        (425, LinkLost),
        (429, LinkLost),
        (500, LinkLost),
        (503, LinkLost),
        (507, LinkLost),
    ],
)
def test_what_is_worth_another_attempt(status: int, error: type[Exception]) -> None:
    assert isinstance(classify("do it", status, "why"), error)


def test_a_refusal_carries_the_clouds_reason() -> None:
    response = httpx.Response(403, json={"detail": "cannot allow this: no scope"})
    with pytest.raises(Refused, match=r"^cannot register node: cannot allow this: no scope$"):
        read_answer("register node", response)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"detail": 5}', b""])
def test_a_refusal_without_a_reason(body: bytes) -> None:
    with pytest.raises(Refused, match=r"^cannot x: HTTP 404$"):
        read_answer("x", httpx.Response(404, content=body))


def test_answers() -> None:
    assert read_answer("x", httpx.Response(200, json={"a": 1})) == {"a": 1}
    assert read_answer("x", httpx.Response(204)) == {}
    for body in (b"<html>", b"[]"):
        with pytest.raises(LinkLost, match="not"):
            read_answer("x", httpx.Response(200, content=body))
