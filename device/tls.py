"""Encrypts the connection and verifies the gateway. Loaded to connect.

    ca.crt                    the authority that signed the gateway's certificate; required
    credentials.json          with the certificate and the key that the gateway gave, if it did
    device.crt, device.key    those of an installer, if the gateway asks for others
    time                      unix seconds that the gateway told, at most a day old when it was told

Each is PEM or DER. The gateway is always verified, so the board needs a time that is not too early.
A board that does not know the time sets its clock to the latest of: the build of this package, the
file `time`, and the starts of the certificates in its flash, because their signature proves that
these moments have passed. This clock serves the verification only: readings are dated by what the
gateway tells.
"""

import binascii
import ssl
import sys
import time

from device.errors import ConfigError, LinkLost
from device.flash import check_size, load, read_text, write_atomic
from micropython import const

_BUILT = const(1793491200)  # 2026-11-01
_DAY_S = const(86400)
_AUTHORITY = const("ca.crt")
_CERTIFICATE = const("device.crt")
_KEY = const("device.key")
_TIME = const("time")
_BLOCK = 16 if sys.maxsize < 1 << 32 else 32
_RUN = const(64)
_FILL_LIMIT = const(512)
_UTC_TIME = b"\x17\x0d"  # DER: its tag and its length
_GENERALIZED_TIME = b"\x18\x0f"


def wrap(sock, config, board, shows_certificate):
    """Return a TLS socket that has not shaken hands yet; with our own certificate, if there is one."""
    authority = _read(_AUTHORITY)
    if authority is None:
        raise ConfigError(
            "cannot use TLS: %s is not on the board: copy the authority's certificate to it"
            % _AUTHORITY
        )
    key, certificate = _own_pair()
    board.set_floor(floor_of(_saved(), authority, certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=authority)
    except (ValueError, OSError) as exc:
        raise ConfigError("cannot use TLS: %s: %s" % (_AUTHORITY, exc))
    if certificate and key and shows_certificate:
        try:
            context.load_cert_chain(certificate, key)
        except (ValueError, OSError) as exc:  # the token may do
            print("device: cannot use its certificate: %s" % exc)
    name = config.tls_name or config.host
    return context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)


def fill_holes():
    """Return what fills the small holes of the heap, to be kept during the handshake.

    Boards lend the TLS library their heap. It takes and gives back thousands of numbers in one
    call, and MicroPython searches for room from the first hole, through all that lies above it:
    with the package in memory that doubles the longest stall. An object of one block fills each
    hole; the end of the holes is where many of them follow one another. For the same reason
    nothing should be collected meanwhile: that would begin the search at the start again.
    """
    chain = None
    last = run = count = 0
    try:
        while run < _RUN and count < _FILL_LIMIT:
            chain = (chain, None)  # one block of four words
            here = id(chain)
            run = run + 1 if here - last == _BLOCK else 0
            last = here
            count += 1
    except MemoryError:
        return None
    return chain


def explain(exc):
    """Return the LinkLost for what the TLS library says of the gateway's certificate."""
    text = str(exc).strip().replace("\n", " ")
    if "validity starts" in text or "expired" in text:
        clock = "%04d-%02d-%02d" % time.gmtime()[:3]
        text += ": the board's clock says %s; if that is wrong, set it or the file 'time'" % clock
    return LinkLost("cannot verify the gateway: " + text)


def keep_time(unix):
    """Store the time that the gateway told, once a day."""
    if not 0 <= unix - _saved() < _DAY_S:
        write_atomic(_TIME, "%d" % unix)


def floor_of(saved, *certificates):
    """Return a time that has certainly passed."""
    floor = max(_BUILT, saved)
    for certificate in certificates:
        floor = max(floor, start_of(certificate or b""))
    return floor


def start_of(der):
    """Return when a certificate begins to be valid, in unix seconds; 0 when it cannot be read."""
    for tag, digits in ((_UTC_TIME, 12), (_GENERALIZED_TIME, 14)):
        at = der.find(tag)
        while at >= 0:  # a serial number may look like the tag
            text = der[at + 2 : at + 2 + digits]
            at = der.find(tag, at + 1)
            if not text.isdigit():
                continue
            if digits == 12:  # RFC 5280: years from 50 on are of the 20th century
                text = (b"19" if text >= b"5" else b"20") + text
            return unix_of(int(text[:4]), *[int(text[n : n + 2]) for n in (4, 6, 8, 10, 12)])
    return 0


def unix_of(year, month, day, hour, minute, second):
    """Return the unix seconds of a moment in UTC; time.mktime() counts from 2000 on some boards."""
    past = year - 1
    days = past * 365 + past // 4 - past // 100 + past // 400 - 719162  # 1970-01-01
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days += (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)[month - 1] + day - 1
    days += 1 if is_leap and month > 2 else 0
    return days * _DAY_S + hour * 3600 + minute * 60 + second


def _own_pair():
    """Return the key and the certificate of this device, each as DER or None."""
    pair = load("stored").load_pair()
    try:
        if pair[0] and pair[1]:
            return _der(pair[0].encode()), _der(pair[1].encode())
    except ValueError:
        print("device: cannot read the certificate in credentials.json")
    return _read(_KEY), _read(_CERTIFICATE)


def _saved():
    try:
        saved = int(read_text(_TIME) or 0)
    except (OSError, ValueError):
        return 0
    return saved if saved < 1 << 32 else 0  # the gateway tells no later time


def _read(path):
    """Return the DER in a file of DER or PEM, or None."""
    try:
        check_size(path)
        with open(path, "rb") as file:
            return _der(file.read())
    except OSError:
        return None
    except ValueError as exc:
        raise ConfigError("cannot use TLS: %s: %s" % (path, exc))


def _der(content):
    start = content.find(b"-----BEGIN")
    if start < 0:
        return content
    body = content[content.find(b"\n", start) : content.find(b"-----END", start)]
    return binascii.a2b_base64(body)
