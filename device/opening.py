"""Opens a link: finds the gateway, joins if there are no credentials, logs in. Loaded to connect."""

from device.errors import CredentialsRefused, LinkLost, Refused
from device.flash import load, remove
from micropython import const

_CREDENTIALS = const(0)  # places in identity
_MUST_JOIN = const(1)


async def open_link(connection, config, board, states, takers):
    """Log in, and return whether the broker kept our session; joins first if that is due.

    states are those of resolver.py (None without IP), recovery.py, and the identity. takers are called with each
    PUBLISH and PUBACK. The identity is [credentials or None, whether a join is due]. A broker that refuses user name and
    password (CONNACK 4 or 5) makes the device join, with a claim token or by approval, and try its
    own credentials again, in turn; any other failure changes nothing.
    """
    address_state, silence, identity = states
    resolver, address = load("resolver"), None
    if address_state is not None:
        address = await resolver.find(address_state, config.host, config.port, board.dns())
    is_joining = identity[_CREDENTIALS] is None or identity[_MUST_JOIN]
    try:
        if is_joining:
            identity[_CREDENTIALS] = await load("join").join(connection, config, board, address)
            identity[_MUST_JOIN] = is_joining = False
            print("device: joined as", identity[_CREDENTIALS][0])
        connection.on_publish, connection.on_puback = takers
        session = await _log_in(connection, config, board, address, identity[_CREDENTIALS])
    except Refused as exc:
        _note_word(resolver, address_state, config, address, silence)
        is_about_login = isinstance(exc, CredentialsRefused)
        if is_joining:
            identity[_MUST_JOIN] = identity[_CREDENTIALS] is not None and not is_about_login
        else:
            # Revoked, or the gateway lost its memory: only a new join lets us in again.
            identity[_MUST_JOIN] = is_about_login
        raise
    except LinkLost:
        if address is not None:
            resolver.note_failure(address_state)
        raise
    _note_word(resolver, address_state, config, address, silence)
    remove("claim")  # a power cut in the join may have left it
    return session


def _note_word(resolver, address_state, config, address, silence):
    """Note that the gateway said something, whatever it was."""
    silence.clear()
    if address is not None:
        resolver.note_success(address_state, config.host, address)


async def _log_in(connection, config, board, address, credentials):
    device_id, username, password, prefix = credentials
    login, will = (username, password), (prefix + "/status", b"offline")
    opening = load("handshake").open_connection
    return await opening(connection, config, board, address, device_id, login, will)
