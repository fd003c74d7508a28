"""Reads [network] of microservice.toml: the hosts that a container may reach. Pure."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.services.network.addresses import (
    IpAddress,
    IpNetwork,
    is_special_network,
    parse_host,
    plain_address,
)
from settings.addresses import HostPort, format_address

ANY = "*"
ENVIRONMENT_KEY = "MCM.NETWORK_ALLOW"  # rules with commas between them
RULES_LIMIT = 64
FORWARDS_LIMIT = 16
HINT = "such as api.example.com:443, *.example.org:443 or 10.0.0.0/24:502"

_FORWARD_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class NetworkRule:
    """One host, or several, at one port; written HOST:PORT.

    Attributes:
        host: a name, "*." and a name for all names below it, "*" for all names; "" with a network.
        network: the addresses; None with a name.
        port: 0 for every port, written "*".
    """

    host: str
    network: IpNetwork | None
    port: int

    def __str__(self) -> str:
        host = str(self.network) if self.network is not None else self.host
        return f"{f'[{host}]' if ':' in host else host}:{self.port or ANY}"

    @classmethod
    def parse(cls, text: str) -> "NetworkRule":
        """Return the rule in HOST:PORT; ValueError says what to write."""
        host, colon, port = text.rpartition(":")
        number = 0 if port == ANY else int(port) if port.isascii() and port.isdigit() else -1
        if not colon or not host or number < 0 or number > 65535 or port == "0":
            raise ValueError(f"must be HOST:PORT, {HINT}")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if ":" in bare and bare == host:
            raise ValueError(f"put brackets round the address: [{host}]:{port}")
        try:
            network = ipaddress.ip_network(bare)
        except ValueError as exc:
            if "/" in bare:
                raise ValueError(f"names no network: {exc}") from exc
            return cls(_parse_name(host), None, number)
        return cls("", network, number)

    def names(self, name: str, port: int) -> bool:
        """Return whether the rule is about a name."""
        if self.port not in (0, port) or self.network is not None:
            return False
        if self.host.startswith("*."):
            return name.endswith(self.host[1:])
        return self.host in (ANY, name)

    def covers(self, address: IpAddress, port: int, *, is_guarded: bool) -> bool:
        """Return whether the rule declares an address.

        A guarded address has to be declared itself: no wide network opens it.
        """
        network, plain = self.network, plain_address(address)
        if network is None or self.port not in (0, port):
            return False
        if network.version != plain.version or plain not in network:
            return False
        return not is_guarded or network.num_addresses == 1 or is_special_network(network)


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """The hosts outside that a microservice may reach; all others are denied.

    Attributes:
        allow: the rules.
        forward: names of local TCP ports and the addresses that they lead to.
    """

    allow: tuple[NetworkRule, ...] = ()
    forward: dict[str, HostPort] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse more than a gateway keeps, and forwards that cannot work."""
        if len(self.allow) > RULES_LIMIT or len(self.forward) > FORWARDS_LIMIT:
            raise ValueError(f"must have at most {RULES_LIMIT} rules and {FORWARDS_LIMIT} forwards")
        for name, address in self.forward.items():
            if not _FORWARD_NAME.fullmatch(name):
                raise ValueError(f'forward: "{name:.40}" must be a-z 0-9 _ -, at most 32')
            try:
                parse_host(address.host)
            except ValueError as exc:
                raise ValueError(f"forward: {name} = {address} {exc}") from exc
            if not address.port:
                raise ValueError(f"forward: {name} = {address} has no port")

    @property
    def is_declared(self) -> bool:
        """True when there is anything that it may reach."""
        return bool(self.allow or self.forward)

    def rules(self) -> tuple[NetworkRule, ...]:
        """Return all rules; a forward implies one."""
        forwards = [
            NetworkRule.parse(format_address(a.host, a.port)) for a in self.forward.values()
        ]
        return (*self.allow, *forwards)


def grant_network(settings: NetworkSettings, env: Mapping[str, str]) -> NetworkSettings:
    """Return the settings of an image without microservice.toml: its deployer declares them.

    Raises:
        ValueError: MCM.NETWORK_ALLOW holds a text that is no rule.
    """
    texts = [text.strip() for text in env.get(ENVIRONMENT_KEY, "").split(",")]
    if settings.is_declared or not any(texts):
        return settings
    try:
        granted = NetworkSettings(tuple(NetworkRule.parse(text) for text in texts if text))
        granted.check()
    except ValueError as exc:
        raise ValueError(f"{ENVIRONMENT_KEY}: {exc}") from exc
    return granted


def _parse_name(host: str) -> str:
    if host == ANY:
        return host
    stars, name = ("*.", host[2:]) if host.startswith("*.") else ("", host)
    return f"{stars}{_checked_name(parse_host(name))}"


def _checked_name(host: IpAddress | str) -> str:
    match host:
        case str():
            return host
        case _:
            raise ValueError(f"must be HOST:PORT, {HINT}")
