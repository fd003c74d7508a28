"""Opens a connection: TCP, TLS, CONNECT, SUBSCRIBE. Loaded for each connection, and freed.

asyncio.open_connection() is not used: it leaves the socket open when it is cancelled.
"""

import asyncio
import gc
import socket
import sys

from device.errors import CredentialsRefused, LinkLost, NotListening, Refused, Unreachable
from device.errors import WireError
from device.flash import load
from micropython import const

_EINPROGRESS = (115, 119, 112, 36)  # Linux, ESP32 and lwIP, others
_REFUSED = (111, 104, 107, 128)  # ECONNREFUSED; lwIP says ECONNRESET, or ENOTCONN at a write
_CONNECT_MS = const(3000)  # of silence: a new attempt sends its SYN sooner than TCP would repeat it
VERSION = "0.1.0"  # of this package

_SUBSCRIBE_ID = const(65535)
_JOIN_KEEPALIVE_S = const(60)  # a join sends no pings, and ends before that


async def open_connection(connection, config, board, address, client_id, login, will):
    """Connect; return whether the broker kept our session. LinkLost or Refused otherwise.

    With a will the session is stored at the broker; without one it is a join's, and clean.
    """
    wire = load("connect_wire")
    keepalive_s = config.keepalive_s if will else _JOIN_KEEPALIVE_S
    packet = wire.encode_connect(client_id, login, keepalive_s, will is None, will)
    if config.link == "wifi":
        opening = _open_tcp(connection, config, board, address)
    else:
        opening = _open_link(connection, config, board, login)
    shake_hands = _shake_hands(connection, config, opening, packet)
    try:
        _, session_present, code = await asyncio.wait_for_ms(shake_hands, connection.timeout_ms)
    except OSError as exc:
        raise LinkLost("cannot connect: %s" % exc)
    except ValueError as exc:  # MicroPython's word for a certificate that is not accepted
        raise load("tls").explain(exc)
    except asyncio.TimeoutError:
        raise LinkLost("cannot connect: no answer within %s s" % (connection.timeout_ms / 1000))
    if code:
        reason = wire.REFUSALS.get(code, "code %d" % code)
        kind = CredentialsRefused if code in (4, 5) else Refused
        raise kind("cannot connect: the broker says: %s" % reason)
    return session_present


async def subscribe(connection, *topic_filters):
    """Subscribe at QoS 1; Refused when the broker does not allow it. Nobody else may read."""
    await connection.send(load("connect_wire").encode_subscribe(_SUBSCRIBE_ID, *topic_filters))
    try:
        await asyncio.wait_for_ms(_suback(connection), connection.timeout_ms)
    except asyncio.TimeoutError:
        raise LinkLost("no SUBACK within %s s" % (connection.timeout_ms / 1000))
    if connection.suback == 0x80:
        raise Refused("cannot subscribe to %s: not allowed" % topic_filters[0])


def filters(prefix):
    """Return what a device subscribes to; commands come first."""
    return prefix + "/commands/+", prefix + "/time", "$hec/%s/credentials" % prefix


async def report(connection, config, board, prefix):
    """Tell the gateway what runs here, and how well the board hears its network."""
    firmware = ".".join([str(number) for number in sys.implementation[1][:3]])
    known = '{"firmware": "%s", "package": "%s"' % (firmware, VERSION)
    if config.link == "wifi" and hasattr(board, "rssi"):
        known += ', "rssi": %d' % board.rssi()
    await connection.publish(prefix + "/attributes", known.encode() + b"}", 0)


async def _suback(connection):
    connection.handle_packets()
    while connection.suback is None:
        await connection.read()
        connection.handle_packets()


async def _open_link(connection, config, board, login):
    """Open a session over a link without IP; the key is that of the token in the login."""
    port = connection.radio or await load("serial_port").open_port(config, board)
    connection.begin(await load("chunk_socket").open_socket(port, *login))


async def _open_tcp(connection, config, board, address):
    sock = socket.socket(address[0], address[1], address[2])
    connection.begin(asyncio.StreamReader(sock))  # from here on close() closes the socket
    sock.setblocking(False)
    await _reach(sock, address[-1], min(_CONNECT_MS, connection.timeout_ms // 2))
    _set_nodelay(sock)
    if config.tls:
        connection.secure(asyncio.StreamReader(load("tls").wrap(sock, config, board, connection.shows_certificate)))


async def _shake_hands(connection, config, opening, packet):
    await opening
    threshold, filling = gc.threshold(), None
    if config.tls:
        gc.collect()
        gc.threshold(-1)
        filling = load("tls").fill_holes()
    try:
        await connection.send(packet)  # with TLS its handshake comes first
    except LinkLost as exc:
        connection.note_refusal()
        hint = "; the gateway may ask for a certificate in device.crt" if config.tls else ""
        raise type(exc)("cannot connect: %s%s" % (exc, hint))
    finally:
        filling = None
        gc.threshold(threshold)
    while True:
        answer = connection.decoder.take_packet()
        if answer is not None:
            break
        await connection.read()
    if answer[0] != 2:
        raise WireError("cannot connect: the broker's first packet is not CONNACK")
    return answer


async def _reach(sock, address, limit_ms):
    """Open the TCP connection."""
    try:
        try:
            sock.connect(address)
        except OSError as exc:
            if exc.errno not in _EINPROGRESS:
                raise
        await asyncio.wait_for_ms(_writable(sock), limit_ms)
        sock.send(b"")  # tells of a refusal; a socket that was refused counts as writable
    except OSError as exc:
        kind = NotListening if exc.errno in _REFUSED else Unreachable
        raise kind("cannot connect: %s" % exc)
    except asyncio.TimeoutError:
        raise Unreachable("cannot connect: no answer within %s s" % (limit_ms / 1000))


def _writable(sock):
    # A generator, which MicroPython can await: asyncio has no call for "until connected".
    yield asyncio.core._io_queue.queue_write(sock)


def _set_nodelay(sock):
    # Without it a reading waits up to 40 ms for the ACK of the one before. Not every port has it.
    try:
        sock.setsockopt(6, 1, b"\x01\x00\x00\x00")  # IPPROTO_TCP, TCP_NODELAY
    except (OSError, AttributeError):
        pass
