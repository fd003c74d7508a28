"""Describes listeners and binds their sockets."""

import errno
import ipaddress
import os
import socket
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

from broker.wire.errors import BrokerError
from settings.addresses import format_address

BACKLOG = 1024  # connections the kernel may hold for us: a power cut brings all devices at once
SOCKET_MODE = stat.S_IRUSR | stat.S_IWUSR

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Listener:
    """One place to listen; authenticators see its name. A path means a Unix socket."""

    host: str = "127.0.0.1"  # "" is every address of the machine
    port: int = 1883
    path: Path | None = None
    tls: ssl.SSLContext | None = None
    name: str = "tcp"
    websocket: bool = False  # at /mqtt
    plain_too: bool = False  # with websocket: plain MQTT, too, by the first byte of a client
    origins: tuple[
        str, ...
    ] = ()  # pages that may connect beside those of the same host; "*" is all
    proxies: tuple[
        str, ...
    ] = ()  # networks; if any, all connections must begin with a PROXY header
    connections: int | None = None  # at most; beside the limits of the whole broker
    known_hosts_only: bool = False  # browsers here connect to addresses and to this machine's names

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        return format_address(self.host, self.port)


def read_networks(listener: Listener) -> tuple[Network, ...]:
    """Return a listener's trusted proxies; BrokerError if one is no network."""
    try:
        return tuple(ipaddress.ip_network(each) for each in listener.proxies)
    except ValueError as exc:
        raise BrokerError(f"cannot listen on {listener}: proxies: {exc}") from exc


def own_names(listener: Listener) -> frozenset[str]:
    """Return the names of this machine and of a listener, in lower case."""
    machine = socket.gethostname().lower()
    short = machine.partition(".")[0]
    return frozenset({machine, short, f"{short}.local", listener.host.lower()})


def is_within(peer: str, networks: tuple[Network, ...]) -> bool:
    """Return whether an address is in one of the networks; every peer of a Unix socket is."""
    if not peer:
        return True
    address = ipaddress.ip_address(peer.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def bind_tcp(addresses: list[tuple[socket.AddressFamily, str]], port: int) -> list[socket.socket]:
    """Return one listening socket per address; with port 0 all get the same free one."""
    bound: list[socket.socket] = []
    try:
        for family, host in addresses:
            listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
            bound.append(listening)
            # for those accepted here: asyncio does it only where a socket names its protocol, and
            # the first answer that is not alone would wait 40 ms for an ACK
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            port = listening.getsockname()[1]
    except BaseException:
        for each in bound:
            each.close()
        raise
    return bound


def bind_unix(path: Path) -> socket.socket:
    """Return a listening socket at a path; a dead one there is replaced, a living one is not."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            _refuse_if_alive(path)
            path.unlink()
        bound.bind(str(path))
        path.chmod(SOCKET_MODE)  # before it listens: until then nobody gets in
        bound.listen(BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound


def reason_of(error: OSError) -> str:
    """Return the system's words for an error."""
    # a failed look-up of a name has no number of the system
    if isinstance(error, socket.gaierror) or error.errno is None:
        return (error.strerror or str(error)).lower()
    return os.strerror(error.errno).lower()


def _refuse_if_alive(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return  # of a process that died
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
