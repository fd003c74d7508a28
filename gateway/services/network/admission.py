"""Decides about one connection of a container to the outside. Pure."""

from collections.abc import Callable, Iterable, Sequence

from gateway.services.network.addresses import IpAddress, plain_address, special_kind
from gateway.services.network.rules import NetworkRule
from settings.addresses import format_address

# an image without the file has its rules from the environment
MANIFEST_KEY = "[network] allow in microservice.toml, or to MCM.NETWORK_ALLOW"
OWN = "this machine"


class NetworkDeniedError(Exception):
    """A container may not reach a host; the message says what to declare."""


class Admission:
    """The rules of one container.

    Args:
        rules: what its manifest declares.
        is_own: returns whether an address is one of this machine.
        closed_ports: returns the ports of the gateway itself, which no rule opens: there the
            container would be anybody on this machine.
    """

    def __init__(
        self,
        rules: Iterable[NetworkRule],
        is_own: Callable[[IpAddress], bool],
        closed_ports: Callable[[], frozenset[int]] = frozenset,
    ) -> None:
        self._rules, self._is_own, self._closed_ports = tuple(rules), is_own, closed_ports

    def check_name(self, name: str, port: int) -> None:
        """Return when a name may be resolved: an undeclared one is not even asked for.

        Raises:
            NetworkDeniedError: no rule names it.
        """
        if not any(rule.names(name, port) for rule in self._rules):
            place = format_address(name, port)
            raise NetworkDeniedError(f"cannot reach {place}: add it to {MANIFEST_KEY}")

    def check_address(self, address: IpAddress, port: int) -> None:
        """Return when a container may reach an address that it names itself.

        Raises:
            NetworkDeniedError: no rule declares it.
        """
        self._refuse_gateway(address, port)
        if not self._declares(address, port):
            place = format_address(str(plain_address(address)), port)
            kind = self._guarded_kind(address)
            note = f" ({kind}: the address itself)" if kind else ""
            raise NetworkDeniedError(f"cannot reach {place}: add it to {MANIFEST_KEY}{note}")

    def select(self, name: str, addresses: Sequence[IpAddress], port: int) -> list[IpAddress]:
        """Return the addresses of a declared name that a container may reach.

        Raises:
            NetworkDeniedError: it may reach none of them.
        """
        allowed = [
            each for each in addresses if not self._guarded_kind(each) or self._declares(each, port)
        ]
        for each in allowed:
            self._refuse_gateway(each, port)
        if addresses and not allowed:
            first = plain_address(addresses[0])
            raise NetworkDeniedError(
                f"cannot reach {format_address(name, port)}: the name leads to {first} "
                f"({self._guarded_kind(first)}); add {format_address(str(first), port)} "
                f"to {MANIFEST_KEY} if that is meant"
            )
        return allowed

    def _refuse_gateway(self, address: IpAddress, port: int) -> None:
        if port in self._closed_ports() and self._guarded_kind(address) == OWN:
            raise NetworkDeniedError(
                f"cannot reach {format_address(str(plain_address(address)), port)}: it is the "
                "gateway itself; use http://localhost for its API, [mqtt] for its broker"
            )

    def _declares(self, address: IpAddress, port: int) -> bool:
        is_guarded = bool(self._guarded_kind(address))
        return any(rule.covers(address, port, is_guarded=is_guarded) for rule in self._rules)

    def _guarded_kind(self, address: IpAddress) -> str:
        plain = plain_address(address)
        return special_kind(plain) or (OWN if self._is_own(plain) else "")
