"""Joins a board without credentials, over one connection as user "claim"."""

import asyncio

from device import contract, flash
from device.errors import ConfigError, LinkLost
from device.mqtt import Connection, end_task
from device.mqtt_wire import DISCONNECT, encode_puback, encode_publish

_ANSWER_WAIT_MS = 30000
_REQUEST_ID = 1


async def join(config, board, decoder, address, packet_limit):
    """Return new credentials; store them on the flash and delete the claim token there."""
    claim = flash.load_claim()
    if claim is None:
        raise ConfigError(
            "cannot join: no credentials, and no claim token: make one with `hecate devices claim`,"
            " write it to the file 'claim', and reset"
        )
    connection = Connection(config, decoder, packet_limit)
    try:
        client_id = board.unique_id()
        await connection.open(address, client_id, (contract.CLAIM_USER, claim), True, None)
        answer = await _ask(connection, client_id, config)
    finally:
        await connection.close()
    credentials = contract.decode_join_response(answer)
    flash.save_credentials(credentials)  # order matters: a claim may be good for one use only
    flash.remove(flash.CLAIM)
    return credentials


async def _ask(connection, client_id, config):
    answers = []
    arrived = asyncio.Event()

    def take(message):
        answers.append(message)
        arrived.set()

    connection.on_publish = take
    connection.on_puback = _ignore
    connection.on_end = arrived.set
    reader = asyncio.create_task(connection.run())
    try:
        await connection.subscribe(contract.join_response_topic(client_id))
        request = contract.encode_join_request(config.name, config.model)
        topic = contract.join_request_topic(client_id)
        await connection.send(encode_publish(topic, request, _REQUEST_ID))
        await asyncio.wait_for_ms(arrived.wait(), _ANSWER_WAIT_MS)
        if not answers:
            raise LinkLost("cannot join: the connection ended before the answer")
        if answers[0].packet_id:
            await connection.send(encode_puback(answers[0].packet_id))
        await connection.send(DISCONNECT)
    except asyncio.TimeoutError:
        raise LinkLost("cannot join: no answer within %d s" % (_ANSWER_WAIT_MS // 1000))
    finally:
        await end_task(reader)
    return answers[0].payload or b""


def _ignore(packet_id):
    pass
