"""Decides which nodes may join the cluster. Pure.

TLS has proved the node id of the peer before. Each side shows a proof to the other, made for that
pair of nodes, so that a proof is of no use to anybody else.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Protocol

from settings.secret import Secret

_CONTEXT = b"hecate-cluster/1"


class PeerAdmission(Protocol):
    """Proves that this node belongs to the cluster, and checks the proofs of others."""

    def prove(self, peer_id: str) -> str:
        """Return the proof for one peer."""

    def refuse(self, peer_id: str, proof: str) -> str:
        """Return why a peer is not admitted; "" when it is."""


class OpenAdmission:
    """Admits every node of the network ([cluster] admit = "any")."""

    def prove(self, peer_id: str) -> str:  # noqa: ARG002  # the port's
        """Return nothing: there is nothing to prove."""
        return ""

    def refuse(self, peer_id: str, proof: str) -> str:  # noqa: ARG002
        """Refuse nobody."""
        return ""


class SecretAdmission:
    """Admits nodes that know a shared secret ([cluster] admit = "secret").

    The first secret is used for proofs, all of them are accepted: a new one is put last at all
    nodes, then first, and then the old one is removed.
    """

    def __init__(self, node_id: str, secrets: Sequence[Secret]) -> None:
        self._node_id, self._secrets = node_id, tuple(secrets)

    def prove(self, peer_id: str) -> str:
        """Return a code that only this pair of nodes can use."""
        return _code(self._secrets[0], self._node_id, peer_id)

    def refuse(self, peer_id: str, proof: str) -> str:
        """Return why a proof is not accepted."""
        codes = [_code(secret, peer_id, self._node_id) for secret in self._secrets]
        if any([hmac.compare_digest(code, proof) for code in codes]):  # noqa: C419  # takes the same time for each
            return ""
        return "it does not know the secret of this cluster ([cluster] secret)"


def _code(secret: Secret, prover_id: str, verifier_id: str) -> str:
    message = b"\x00".join((_CONTEXT, prover_id.encode(), verifier_id.encode()))
    return hmac.new(secret.reveal().encode(), message, hashlib.sha256).hexdigest()
