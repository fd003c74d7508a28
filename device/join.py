"""Joins a board without credentials, and takes new ones. Loaded when it is needed.

A board with TLS asks for a client certificate as well; a gateway that makes none leaves it out.

With a claim token the board joins as user "claim". Without one it makes a secret, joins as user
"join", and shows the code that it is told until a person approves it.
"""

import asyncio
import json

from device.errors import CredentialsRefused, LinkLost, Refused, WireError
from device.flash import load, remove
from device.mqtt_wire import encode_puback
from micropython import const

CLAIM_USER = "claim"
APPROVAL_USER = "join"

_ANSWER_WAIT_MS = const(30000)
_APPROVAL_WAIT_MS = const(50000)  # then the board asks again
_REQUEST_ID = const(1)


def request_topic(client_id):
    """Return the topic of a join request."""
    return "$hec/join/%s/request" % client_id


def response_topic(client_id):
    """Return the topic of the gateway's answer."""
    return "$hec/join/%s/response" % client_id


def encode_request(name, model, tls=False):
    """Return the payload of a join request."""
    request = {"name": name, "model": model}
    if tls:
        request["certificate"] = True
    return json.dumps(request).encode()


def decode_response(payload):
    """Return the credentials in the gateway's answer; Refused when it holds none yet, or never."""
    answer = load("contract_commands").json_object(payload, "join response")
    if "error" in answer:
        raise Refused(str(answer["error"]))
    if "pending" in answer:  # the board tries its own credentials meanwhile, if it has any
        raise CredentialsRefused(
            "waits for approval with the code %s: hecate devices approve %s"
            % (answer["pending"], answer["pending"])
        )
    return load("stored").credentials_of(answer)


def renew(payload, device_id):
    """Store and return the new credentials that the gateway sends to a device, or None."""
    try:
        answer = load("contract_commands").json_object(payload, "credentials")
        credentials = load("stored").credentials_of(answer)
        if credentials[0] != device_id:
            raise WireError("cannot read credentials: they are of another device")
        # a new certificate is for the same key; without a new one the old one stays
        return _store(credentials, payload, load("stored").load_pair())
    except (WireError, OSError) as exc:
        print("device: keeping the old credentials:", exc)
        return None


def _store(credentials, payload, pair=(None, None)):
    """Store credentials; pair is the key and the certificate of the board so far."""
    answer = load("contract_commands").json_object(payload, "credentials")
    pair = answer.get("key") or pair[0], answer.get("certificate") or pair[1]
    load("stored").save_credentials(credentials, pair)
    return credentials


async def join(connection, config, board, address):
    """Return new credentials; store them on the flash and delete the claim token there."""
    stored = load("stored")
    claim = stored.load_claim()
    if claim is None and config.link != "wifi":
        # of this kind, so that its own credentials are tried next
        raise CredentialsRefused("cannot join by %s without a claim token" % config.link)
    login = (APPROVAL_USER, stored.approval_secret()) if claim is None else (CLAIM_USER, claim)
    handshake = load("handshake")
    client_id = board.unique_id()
    try:
        await handshake.open_connection(connection, config, board, address, client_id, login, None)
        answer = await _ask(handshake, connection, client_id, config)
    finally:
        connection.close()
    credentials = _store(decode_response(answer), answer)
    # order matters: a claim may be good for one use only
    remove(stored.CLAIM)
    remove(stored.APPROVAL_SECRET)
    return credentials


async def _ask(handshake, connection, client_id, config):
    answers = []
    connection.on_publish = answers.append
    connection.on_puback = _ignore
    await handshake.subscribe(connection, response_topic(client_id))
    request = encode_request(config.name, config.model, getattr(config, "tls", False))
    await connection.publish(request_topic(client_id), request, _REQUEST_ID)
    wait_ms, payload = _ANSWER_WAIT_MS, None
    while wait_ms:
        try:
            await asyncio.wait_for_ms(_receive(connection, answers), wait_ms)
        except asyncio.TimeoutError:
            if payload is None:
                raise LinkLost("cannot join: no answer within %d s" % (wait_ms // 1000))
            break
        _, _, payload, packet_id, _, _ = answers.pop(0)
        if packet_id:
            await connection.send(encode_puback(packet_id))
        wait_ms = _show_code(payload or b"", config)
    await connection.send(b"\xe0\x00")  # DISCONNECT
    return payload or b""


def _show_code(payload, config):
    """Print the code of a board that waits; return how long it waits for the next answer."""
    code = load("contract_commands").json_object(payload, "join response").get("pending")
    if code is None:
        return 0
    print("device: %s waits for approval: hecate devices approve %s" % (config.name, code))
    return _APPROVAL_WAIT_MS


async def _receive(connection, answers):
    while not answers:
        await connection.read()
        connection.handle_packets()


def _ignore(packet_id):
    pass
