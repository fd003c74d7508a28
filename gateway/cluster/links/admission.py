"""Decides which nodes may join the cluster. Pure.

TLS has proved the node id of the peer before. Each side shows a proof to the other, made for that
pair of nodes, so that a proof is of no use to anybody else.
"""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from protocol.cluster_credentials import ClusterCredential
from protocol.errors import TokenError
from protocol.tokens import LEEWAY_S
from settings.secret import Secret

_CONTEXT = b"hecate-cluster/1"
CODE_BYTES = 64  # of a proof by a secret: SHA-256 in hexadecimal digits
PROOF_BYTES = 2 * CODE_BYTES  # two secrets at most: a new one and an old one
READ_LIMIT = 1100  # credentials that were read: 1,000 members
READ_AGAIN_S = 300.0  # the cloud may have replaced the key that signed it


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


class AccountAdmission:
    """Admits nodes of this node's account ([cluster] admit = "account")."""

    def __init__(
        self,
        account_id: Callable[[], str],
        credential: Callable[[], str],
        read: Callable[[str], ClusterCredential],
        clock: Callable[[], float],
    ) -> None:
        """Take functions for this node's account and credential.

        Args:
            account_id: "" for none.
            credential: "" while there is none.
            read: returns what a credential says, ended or not; TokenError for a forged one.
            clock: the unix time, by which credentials end.
        """
        self._account_id, self._credential = account_id, credential
        self._read, self._clock = read, clock
        self._known: OrderedDict[str, tuple[ClusterCredential, float]] = OrderedDict()

    def prove(self, peer_id: str) -> str:  # noqa: ARG002  # it names this node, so it fits all
        """Return the credential of this node."""
        return self._credential()

    def refuse(self, peer_id: str, proof: str) -> str:
        """Return why a credential does not admit the peer."""
        account_id = self._account_id()
        if not account_id:
            return "the node that it called is in no account ([cluster] admit)"
        if not proof:
            return "it has no credential of an account"
        try:
            found = self._read_once(proof)
        except TokenError as exc:
            return f"its credential is not accepted: {exc}"
        if found.node_id != peer_id:
            return "its credential is of another node"
        return "it is of another account" if found.account_id != account_id else self._ended(found)

    def _ended(self, found: ClusterCredential) -> str:
        if self._clock() <= found.expires_at + LEEWAY_S:
            return ""
        return (
            f"its credential has ended on {found.end_date}: "
            "it gets a new one when it reaches the cloud"
        )

    def _read_once(self, proof: str) -> ClusterCredential:
        """Read a credential; a signature's check for each request would be too much work."""
        found, read_at = self._known.get(proof, (None, 0.0))
        now = self._clock()
        if found is None or not 0 <= now - read_at < READ_AGAIN_S:
            self._known.pop(proof, None)
            found = self._read(proof)
            self._known[proof] = found, now
            if len(self._known) > READ_LIMIT:
                self._known.popitem(last=False)
        return found


class SecretAdmission:
    """Admits nodes that know a shared secret ([cluster] admit = "secret").

    A node with two secrets proves both, and accepts either. So while nodes get a new secret, one
    after the other, each has one in common with every other: the old one until all have the new
    one as well.
    """

    def __init__(self, node_id: str, secrets: Sequence[Secret]) -> None:
        self._node_id, self._secrets = node_id, tuple(secrets)

    def prove(self, peer_id: str) -> str:
        """Return a code by each secret that only this pair of nodes can use."""
        return "".join(_code(each, self._node_id, peer_id) for each in self._secrets)

    def refuse(self, peer_id: str, proof: str) -> str:
        """Return why a proof is not accepted."""
        shown = proof.encode("utf-8", "surrogatepass")  # of a stranger: any text
        parts = [shown[at : at + CODE_BYTES] for at in range(0, PROOF_BYTES, CODE_BYTES)]
        codes = [_code(secret, peer_id, self._node_id).encode() for secret in self._secrets]
        if any([hmac.compare_digest(code, part) for code in codes for part in parts]):  # noqa: C419  # takes the same time for each
            return ""
        return "it does not know the secret of this cluster ([cluster] secret)"


def _code(secret: Secret, prover_id: str, verifier_id: str) -> str:
    message = b"\x00".join((_CONTEXT, prover_id.encode(), verifier_id.encode()))
    return hmac.new(secret.reveal().encode(), message, hashlib.sha256).hexdigest()
