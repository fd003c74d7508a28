"""Gives the answer of decryptEncryptedNodesJson: nodes in the shapes that bundles read. Pure.

Elsewhere the discovery API answers with an envelope {data, iv, tag} that only the runtime opens.
The gateway answers with plain nodes, because it knows its callers. This module opens both, and
gives each caller all the members that one of them looks for.

Bundles take the address of type "public", "proxy" or "local" of a node without a check that it has
one. A node whose API listens on loopback has none of them: its local address becomes the name by
which containers reach it, on this machine, in the cluster or through the SEP (docs/network.md).
"""

import base64
import json
from typing import Any

_USUAL = frozenset({"local", "public", "proxy"})  # a node may have others, such as "cluster"


def open_nodes(kind: str, text: str, account_id: str) -> str:
    """Return the JSON text of the nodes; ValueError when the text holds none.

    Args:
        kind: "local", "account" or "proximity".
        text: the member data of the discovery API's answer, or cipheredNodes, as JSON.
        account_id: of this node.
    """
    try:
        value = _open(json.loads(text))
    except (ValueError, TypeError, RecursionError) as exc:
        raise ValueError("cannot decrypt nodes: data is not what the gateway gave") from exc
    if isinstance(value, list):
        value = [_complete(node) for node in value]
    else:
        if isinstance(value, dict):
            return json.dumps(value)
        raise ValueError("cannot decrypt nodes: data holds no nodes")
    if kind == "account":
        return json.dumps(value)
    sealed = base64.b64encode(json.dumps(value).encode()).decode()
    return json.dumps(
        {
            "localLinkNetwork": {"nodes": value},
            "proximity": {"nodes": value},
            "account": {
                "accountId": account_id,
                "cipheredNodes": {"data": sealed, "iv": "", "tag": ""},
            },
        }
    )


def _open(value: Any) -> Any:
    if isinstance(value, dict) and {"data", "iv", "tag"} <= set(value):
        return json.loads(base64.b64decode(value["data"], validate=True))
    return value


def _complete(node: Any) -> Any:
    """Return a node with the members that bundles read without a check."""
    if not isinstance(node, dict) or not isinstance(node.get("id"), str):
        return node
    given = node.get("addresses")
    addresses = given if isinstance(given, list) else []
    if not any(isinstance(one, dict) and one.get("type") in _USUAL for one in addresses):
        href = f"http://{node['id']}.node.hecate"
        addresses = [*addresses, {"type": "local", "url": {"href": href}}]
    attributes = [{"name": "name", "value": node.get("name") or ""}]
    characteristics = [{"name": "edgeVersion", "value": node.get("version") or ""}]
    return {
        "attributes": attributes,
        "characteristics": characteristics,
        **node,
        "addresses": addresses,
    }
