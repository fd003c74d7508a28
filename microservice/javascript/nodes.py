"""Gives the answer of decryptEncryptedNodesJson: nodes in the shapes that bundles read. Pure.

Elsewhere the discovery API answers with an envelope {data, iv, tag} that only the runtime opens.
The gateway answers with plain nodes, because it knows its callers. This module opens both, and
gives each caller all the members that one of them looks for.
"""

import base64
import json
from typing import Any


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
    if not isinstance(value, list):
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
