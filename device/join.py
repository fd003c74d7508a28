"""Joins a board without credentials, over one connection as user "claim". Loaded to join."""

import asyncio
import json

from device.errors import ConfigError, LinkLost, Refused
from device.flash import load, remove
from device.mqtt_wire import encode_puback
from micropython import const

CLAIM_USER = "claim"

_ANSWER_WAIT_MS = const(30000)
_REQUEST_ID = const(1)


def request_topic(client_id):
    """Return the topic of a join request."""
    return "$hec/join/%s/request" % client_id


def response_topic(client_id):
    """Return the topic of the gateway's answer."""
    return "$hec/join/%s/response" % client_id


def encode_request(name, model):
    """Return the payload of a join request."""
    return json.dumps({"name": name, "model": model}).encode()


def decode_response(payload):
    """Return the credentials in the gateway's answer; Refused when it holds an error."""
    answer = load("contract_commands").json_object(payload, "join response")
    if "error" in answer:
        raise Refused(str(answer["error"]))
    return load("stored").credentials_of(answer)


async def join(connection, config, board, address):
    """Return new credentials; store them on the flash and delete the claim token there."""
    stored = load("stored")
    claim = stored.load_claim()
    if claim is None:
        raise ConfigError(
            "cannot join: no credentials, and no claim token: make one with `hecate devices claim`,"
            " write it to the file 'claim', and reset"
        )
    handshake = load("handshake")
    client_id = board.unique_id()
    login = (CLAIM_USER, claim)
    try:
        await handshake.open_connection(connection, config, board, address, client_id, login, None)
        answer = await _ask(handshake, connection, client_id, config)
    finally:
        connection.close()
    credentials = decode_response(answer)
    stored.save_credentials(credentials)  # order matters: a claim may be good for one use only
    remove(stored.CLAIM)
    return credentials


async def _ask(handshake, connection, client_id, config):
    answers = []
    connection.on_publish = answers.append
    connection.on_puback = _ignore
    await handshake.subscribe(connection, response_topic(client_id))
    request = encode_request(config.name, config.model)
    await connection.publish(request_topic(client_id), request, _REQUEST_ID)
    try:
        await asyncio.wait_for_ms(_receive(connection, answers), _ANSWER_WAIT_MS)
    except asyncio.TimeoutError:
        raise LinkLost("cannot join: no answer within %d s" % (_ANSWER_WAIT_MS // 1000))
    _, _, payload, packet_id, _, _ = answers[0]
    if packet_id:
        await connection.send(encode_puback(packet_id))
    await connection.send(b"\xe0\x00")  # DISCONNECT
    return payload or b""


async def _receive(connection, answers):
    while not answers:
        await connection.read()
        connection.handle_packets()


def _ignore(packet_id):
    pass
