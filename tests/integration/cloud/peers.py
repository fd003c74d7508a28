"""Plays the peers of a cloud: a gateway and an OpenID Connect provider."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from paho.mqtt import client as paho

from protocol.envelope import Envelope, EnvelopeKind, decode_envelope, encode_envelope, seal, unseal
from protocol.http_body import HttpRequest, HttpResponse, decode_request, encode_response
from protocol.keys import NodeKey, SealingKey, new_node_key, new_sealing_key
from protocol.memberships import SepClaim, sign_membership
from protocol.records import NodeRecord, sign_record
from protocol.tokens import sign_as_node
from protocol.topics import sep_request, sep_response
from tests.mqtt_peer import Mqtt
from tests.system import Cloud

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"

Answer = Callable[[HttpRequest], HttpResponse | None]


@dataclass
class Node:
    """A gateway, as the cloud sees one."""

    cloud: Cloud
    supernode_id: str = ""
    key: NodeKey = field(default_factory=new_node_key)
    sealing: SealingKey = field(default_factory=new_sealing_key)
    requests: list[HttpRequest] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)

    @property
    def node_id(self) -> str:
        return self.key.node_id

    def assertion(self, **changed: Any) -> str:
        claims = {"iss": self.node_id, "sub": self.node_id, "aud": "mst", **changed}
        return sign_as_node(claims, self.key, time.time(), 60)

    def ask_token(self, **changed: str) -> httpx.Response:
        form = {"grant_type": GRANT_TYPE, "assertion": self.assertion(), **changed}
        return self.cloud.call("POST", "/mst/v1/oauth/token", data=form)

    def token(self) -> str:
        return str(self.ask_token().raise_for_status().json()["access_token"])

    def record(self) -> NodeRecord:
        supernode_id = self.supernode_id or self.node_id
        return NodeRecord(self.node_id, "by hand", "1", supernode_id, self.sealing.public)

    def register(
        self, token: str = "", record: NodeRecord | None = None, membership: str = ""
    ) -> httpx.Response:
        signed = sign_record(record or self.record(), self.key, time.time(), membership)
        headers = {"Content-Type": "application/jwt"}
        return self.cloud.call(
            "POST", "/mds/v1/nodes", token or self.token(), content=signed, headers=headers
        )

    def vouch_for(self, member: "Node", epoch: int = 1, number: int = 0) -> str:
        """Return a SEP holder's statement about a node of its cluster."""
        claim = SepClaim(epoch, number, self.node_id)
        return sign_membership(member.node_id, self.key, time.time(), claim)

    def edge_id_token(self, **changed: Any) -> str:
        claims = {"sub": "", "node_id": self.node_id, "node_name": "by hand", "aud": "mid"}
        return sign_as_node(claims | changed, self.key, time.time(), 60)

    def associate(self, id_token: str) -> str:
        """Join the account of a person; return its id."""
        signed_in = self.cloud.sign_in(id_token, edge_id_token=self.edge_id_token())
        token = signed_in.raise_for_status().json()["access_token"]
        answer = self.cloud.call("PUT", f"/mds/v1/nodes/{self.node_id}/account", token)
        return str(answer.raise_for_status().json()["accountId"])

    def connect(self) -> Mqtt:
        return Mqtt(self.cloud.mqtt_port, self.node_id, self.token(), self.node_id)

    def serve(self, answer: Answer, via: "Node | None" = None) -> Mqtt:
        """Connect, as or by way of a supernode, and answer SEP requests."""
        supernode = via or self
        mqtt = supernode.connect()
        mqtt.client.on_message = lambda *a: self._on_request(mqtt, supernode, a[2], answer)
        assert mqtt.subscribe(sep_request(supernode.node_id, "+"))
        return mqtt

    def reply(
        self, envelope: Envelope, response: HttpResponse, secret: bytes | None = None
    ) -> Envelope:
        """Return the sealed answer to a request's envelope."""
        unsealed = Envelope(
            EnvelopeKind.RESPONSE,
            envelope.message_id,
            envelope.sender,
            self.node_id,
            time.time() + 20,
            b"",
        )
        if secret is None:
            secret = self.requests[-1].answer_secret if self.requests else b""
        return seal(unsealed, encode_response(response), envelope.reply_key, secret)

    def _on_request(
        self, mqtt: Mqtt, supernode: "Node", message: paho.MQTTMessage, answer: Answer
    ) -> None:
        envelope = decode_envelope(bytes(message.payload))
        if envelope.kind is EnvelopeKind.CANCEL:  # its caller has waited long enough
            return
        request = decode_request(unseal(envelope, self.sealing))
        self.envelopes.append(envelope)
        self.requests.append(request)
        response = answer(request)
        if response is not None:
            topic = response_topic(supernode.node_id, envelope)
            mqtt.client.publish(topic, encode_envelope(self.reply(envelope, response)), qos=1)


def response_topic(supernode_id: str, request: Envelope) -> str:
    return sep_response(supernode_id, request.to, request.sender.removeprefix("mss:"))


class OpenIdProvider:
    """An OpenID Connect provider with one RSA key at a time, over real HTTP."""

    def __init__(self) -> None:
        self.rotate()
        self.fetches = 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.fetches += 1
                body = json.dumps(provider.document(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def rotate(self) -> None:
        self._key = RSAKey.generate_key(2048)

    def document(self, path: str) -> dict[str, Any]:
        if path == "/keys":
            return dict(KeySet([self._key]).as_dict(private=False))
        return {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"}

    def id_token(self, **changed: Any) -> str:
        claims = {
            "iss": self.issuer,
            "aud": "client",
            "sub": "someone",
            "exp": int(time.time()) + 60,
            **changed,
        }
        header = {"alg": "RS256", "kid": self._key.thumbprint()}
        return jwt.encode(header, claims, self._key, algorithms=["RS256"])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def renamed(record: NodeRecord, **changed: Any) -> NodeRecord:
    return replace(record, **changed)
