"""Serves the requests that peers send to this node's API and microservices. Does I/O.

A connection has proved the node id of its peer. Each request carries the proof that admits that
node; without it the peer gets a refusal and nothing else. The rights of an admitted peer are those
of a request over the SEP: its origin is "node".
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.cluster.calls.protocol import PROOF_HEADER
from gateway.cluster.links.admission import PeerAdmission
from gateway.http.origin import KEY, Origin
from gateway.http.problems import problem_response
from protocol.node_tls import NodeTlsCodec
from web import HttpLimits, HttpServer
from web.asgi import App, Receive, Scope, Send

LIMITS = HttpLimits.of(256, stop_s=1)  # 64 of one node

_PEER = "hecate.peer"  # in the state of a connection's requests
_PROOF = PROOF_HEADER.encode()

NoteRefused = Callable[[str, str, str], None]  # node id, address, reason


@dataclass(frozen=True, slots=True)
class _Peer:
    node_id: str
    address: str


class CallServer:
    """Serves connections of peers; an ASGI application that admits them."""

    def __init__(self, admission: PeerAdmission, note_refused: NoteRefused) -> None:
        self._admission, self._note_refused = admission, note_refused
        self._app: App | None = None  # while it runs
        self._server = HttpServer(self, LIMITS, by_listener=True)
        self.served = 0  # requests of admitted peers

    def counts(self) -> dict[str, int]:
        """Return how many connections there are, and how many were refused or cut."""
        return self._server.bounds.counts()

    async def run(self, app: App) -> None:
        """Serve an application to peers until cancelled."""
        self._app = app
        try:
            await self._server.run_on_added()
        finally:
            self._app = None

    async def serve(self, sock: socket.socket, codec: NodeTlsCodec, address: str) -> None:
        """Serve a connection until it ends."""
        peer = _Peer(codec.peer_id, address)
        await self._server.serve_connection(sock, peer.node_id, {_PEER: peer})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of a peer."""
        if scope["type"] != "http":
            return
        peer: _Peer = scope["state"][_PEER]
        proofs = [value for name, value in scope["headers"] if name == _PROOF]
        proof = proofs[0].decode("latin-1") if len(proofs) == 1 else ""
        reason = self._admission.refuse(peer.node_id, proof)
        if reason or self._app is None:
            if reason:
                self._note_refused(peer.node_id, peer.address, reason)
            why = f"cannot serve node {peer.node_id:.12}: {reason or 'this node starts or stops'}"
            refusal = problem_response(403 if reason else 503, why, {"Connection": "close"})
            await refusal(scope, receive, send)
            return
        self.served += 1
        await self._app(_inner(scope), receive, send)


def _inner(scope: Scope) -> dict[str, Any]:
    """Return the request as the API gets it: from a node, whatever it claims."""
    headers = [(name, value) for name, value in scope["headers"] if name != _PROOF]
    return {**scope, "headers": headers, "client": None, "state": {}, KEY: Origin.NODE.value}
