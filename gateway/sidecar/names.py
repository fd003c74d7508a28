"""Lists the names by which people and programs call this gateway."""

import socket
from collections.abc import Iterable


def own_names(node_name: str, host: str, configured: Iterable[str]) -> frozenset[str]:
    """Return the names, in lower case: the machine's, the node's, as mDNS has them, configured.

    Addresses need no name here: web.browsers.origins compares them with the local address.
    """
    machine = socket.gethostname()
    local = {machine, machine.partition(".")[0], node_name}
    names = local | {f"{name}.local" for name in local if "." not in name} | {host}
    return frozenset(name.lower() for name in names | set(configured) if name)
