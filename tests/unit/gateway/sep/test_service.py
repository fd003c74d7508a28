import asyncio
from dataclasses import replace

import pytest

from gateway.node.identity import NodeIdentity, load_identity
from gateway.sep.service import SepService
from protocol.envelope import (
    BODY_LIMIT_BYTES,
    ENVELOPE_LIMIT_BYTES,
    Envelope,
    EnvelopeKind,
    decode_envelope,
    encode_envelope,
    new_message_id,
    seal,
    unseal,
)
from protocol.http_body import HttpRequest, HttpResponse, decode_response, encode_request
from protocol.keys import SealingKey, new_sealing_key
from web.asgi import App, Receive, Scope, Send

SECRET = b"s" * 16
NOW = 1000.0
SUPERNODE = "f" * 56


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> NodeIdentity:
    return load_identity(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def cloud_key() -> SealingKey:
    return new_sealing_key()


def answering(status: int, size: int) -> App:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"x-y", b"z"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for _ in range(size // 1000):
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        await send({"type": "http.response.body", "body": b"x" * (size % 1000)})

    return app


async def faulty(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise ZeroDivisionError


def make_request(identity: NodeIdentity, key: SealingKey) -> Envelope:
    plain = encode_request(HttpRequest("GET", "/healthz", answer_secret=SECRET))
    envelope = Envelope(
        EnvelopeKind.REQUEST,
        new_message_id(),
        identity.node_id,
        "mss:r1",
        NOW + 20,
        b"",
        key.public,
    )
    return seal(envelope, plain, identity.sealing.public)


def ask(identity: NodeIdentity, app: App, *payloads: bytes) -> list[tuple[str, bytes]]:
    async def run() -> list[tuple[str, bytes]]:
        service = SepService(identity, app, lambda: NOW)
        sent: list[tuple[str, bytes]] = []
        for payload in payloads:
            service.handle(payload, SUPERNODE, lambda topic, answer: sent.append((topic, answer)))
        await asyncio.gather(*service._tasks)
        assert service.dropped == len(payloads) - len(sent)
        return sent

    return asyncio.run(run())


def answer_of(sent: list[tuple[str, bytes]], key: SealingKey) -> HttpResponse:
    ((_, payload),) = sent
    return decode_response(unseal(decode_envelope(payload), key, SECRET))


def test_a_request_is_opened_answered_and_sealed_for_its_sender(
    identity: NodeIdentity, cloud_key: SealingKey
) -> None:
    request = make_request(identity, cloud_key)
    ((topic, payload),) = ask(identity, answering(201, 10), encode_envelope(request))
    assert topic == f"$hec/sep/{SUPERNODE}/{identity.node_id}/response/r1"
    envelope = decode_envelope(payload)
    assert (envelope.kind, envelope.message_id) == (EnvelopeKind.RESPONSE, request.message_id)
    assert (envelope.to, envelope.sender) == ("mss:r1", identity.node_id)
    assert b"xxxxx" not in payload
    answer = decode_response(unseal(envelope, cloud_key, SECRET))
    assert answer == HttpResponse(201, (("x-y", "z"),), b"x" * 10)


def test_the_same_request_is_served_once(identity: NodeIdentity, cloud_key: SealingKey) -> None:
    payload = encode_envelope(make_request(identity, cloud_key))
    assert len(ask(identity, answering(200, 1), payload, payload)) == 1


@pytest.mark.parametrize("size", [BODY_LIMIT_BYTES - 10, BODY_LIMIT_BYTES, 10 * BODY_LIMIT_BYTES])
def test_an_answer_that_does_not_fit_says_to_ask_for_a_bep(
    identity: NodeIdentity, cloud_key: SealingKey, size: int
) -> None:
    payload = encode_envelope(make_request(identity, cloud_key))
    sent = ask(identity, answering(200, size), payload)
    answer = answer_of(sent, cloud_key)
    assert answer.status == 413
    assert b"ask for a BEP" in answer.body
    assert ("content-type", "application/problem+json") in answer.headers


def test_an_answer_that_just_fits(identity: NodeIdentity, cloud_key: SealingKey) -> None:
    payload = encode_envelope(make_request(identity, cloud_key))
    sent = ask(identity, answering(200, BODY_LIMIT_BYTES - 100), payload)
    assert len(sent[0][1]) <= ENVELOPE_LIMIT_BYTES
    assert answer_of(sent, cloud_key).status == 200


def test_a_fault_of_the_sidecar_is_an_answer(identity: NodeIdentity, cloud_key: SealingKey) -> None:
    sent = ask(identity, faulty, encode_envelope(make_request(identity, cloud_key)))
    assert answer_of(sent, cloud_key).status == 500


def test_what_is_not_for_this_node_is_dropped(
    identity: NodeIdentity, cloud_key: SealingKey
) -> None:
    good = make_request(identity, cloud_key)
    for bad in (
        replace(good, to="0" * 56),
        replace(good, kind=EnvelopeKind.RESPONSE),
        replace(good, sender="0" * 56),
        replace(good, sender="mss:a/b"),
        replace(good, reply_key=b""),
        replace(good, reply_key=b"short"),
        replace(good, expires=NOW - 60),
        replace(good, expires=NOW + 3600),
        replace(good, expires=NOW + 21),  # nobody can extend the life of a recorded message
        replace(good, message_id=bytes(16)),  # not the id it was sealed for
        replace(good, message_id=b""),
        replace(good, body=b""),
    ):
        assert ask(identity, answering(200, 1), encode_envelope(bad)) == []
    for noise in (b"", b"\xff" * 100, encode_envelope(good)[:-1], bytes(ENVELOPE_LIMIT_BYTES + 1)):
        assert ask(identity, answering(200, 1), noise) == []
    sealed_to_another = seal(replace(good, body=b""), b"x", cloud_key.public)
    assert ask(identity, answering(200, 1), encode_envelope(sealed_to_another)) == []


# case CL3
def test_a_request_that_nobody_waits_for_ends(
    identity: NodeIdentity, cloud_key: SealingKey
) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def slow(_scope: Scope, _receive: Receive, _send: Send) -> None:
        began.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    async def scenario() -> None:
        service = SepService(identity, slow, lambda: NOW)
        sent: list[object] = []
        request = make_request(identity, cloud_key)
        service.handle(encode_envelope(request), SUPERNODE, lambda *answer: sent.append(answer))
        await began.wait()
        cancel = replace(request, kind=EnvelopeKind.CANCEL, body=b"", reply_key=b"")
        for wrong in (
            replace(cancel, message_id=new_message_id()),
            replace(cancel, sender="mss:r2"),
            replace(cancel, to="0" * 56),
        ):
            service.handle(encode_envelope(wrong), SUPERNODE, lambda *_: None)
        await asyncio.sleep(0)
        assert not ended.is_set()
        service.handle(encode_envelope(cancel), SUPERNODE, lambda *_: None)
        await ended.wait()
        await asyncio.gather(*service._tasks, return_exceptions=True)
        assert (sent, service.dropped, service._served) == ([], 0, {})

    asyncio.run(scenario())


# case CL5
def test_a_recorded_request_is_not_executed_with_another_expiry(
    identity: NodeIdentity, cloud_key: SealingKey
) -> None:
    now, served = NOW, 0

    async def count(_scope: Scope, _receive: Receive, send: Send) -> None:
        nonlocal served
        served += 1
        await answering(200, 1)(_scope, _receive, send)

    async def scenario() -> None:
        nonlocal now
        service = SepService(identity, count, lambda: now)
        recorded = make_request(identity, cloud_key)
        for later_s in (0.0, 10.0, 60.0, 300.0):  # its id is forgotten after 50 s
            now = NOW + later_s
            again = replace(recorded, expires=NOW + 20 + later_s)
            service.handle(encode_envelope(again), SUPERNODE, lambda *_: None)
            await asyncio.gather(*service._tasks)

    asyncio.run(scenario())
    assert served == 1
