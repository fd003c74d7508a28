"""Calls the cloud's HTTP API as a node (docs/protocol.md)."""

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from typing import Any

import httpx

from gateway.backoff import delays
from gateway.cloud_api.clock import CloudClock
from gateway.cloud_api.values import AuthorizationPending, BepGrant, DeviceCodes
from gateway.errors import CloudRefused, StaleClaim, UplinkError, UplinkLost
from protocol.errors import WireError
from protocol.ids import decode_base64url, new_run_id
from protocol.keys import NodeKey
from protocol.mqtt_limits import MqttLimits, read_mqtt_limits
from protocol.records import NodeRecord, from_fields
from protocol.tokens import sign_as_node
from settings.secret import Secret

logger = logging.getLogger(__name__)

ASSERTION_TTL_S = 120.0
TIMEOUT_S, CONNECT_S = 10.0, 4.0
ATTEMPTS = 3  # of calls that a person waits for; the link repeats its calls itself
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 2.0
WRONG_CLOCK_S = 5.0  # a difference of clocks that is logged and needs a second assertion
# Of a token's lifetime, this part at least remains for further attempts, and at most the other one:
# nodes that have come at the same time do not come again at the same time.
RENEW_BEFORE, RENEW_EARLIEST = 0.2, 0.3

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
DEVICE_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
STALE_CLAIM = "stale_claim"  # the error code of a refused registration
EPOCH_LIMIT = 2**53
CODE_INTERVAL_S = 5.0  # RFC 8628, 3.2, when the cloud names none

# RFC 9110, 15.5: faults that may end by themselves; a new token answers a 401
_TRANSIENT = frozenset({408, 425, 429})


class CloudApi:
    """The client of the cloud's API; it renews the node's access token."""

    def __init__(
        self,
        url: str,
        key: NodeKey,
        transport: httpx.AsyncBaseTransport,
        clock: CloudClock,
    ) -> None:
        self._key, self._clock = key, clock
        self._rng = random.Random()  # noqa: S311  # spreads retries
        self._token = Secret("")
        self._renew_at = float("-inf")  # of the clock that nobody sets
        self._run = new_run_id()  # of this process, which its BEPs do not outlive
        self._one_renewal = asyncio.Lock()
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            transport=transport,
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_S),
            trust_env=False,  # http_proxy.py reads the environment
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    @property
    def renews_in_s(self) -> float:
        """The time until the access token should be renewed."""
        return max(0.0, self._renew_at - self._clock.boot_time())

    def drop_token(self) -> None:
        """Drop the access token: the cloud has refused it."""
        self._renew_at = float("-inf")

    async def access_token(self) -> Secret:
        """Return this node's access token, a new one when the old one expires soon.

        Raises:
            CloudRefused: the cloud refuses this node.
            UplinkLost: it cannot be reached or is overloaded.
        """
        async with self._one_renewal:
            if self._clock.boot_time() >= self._renew_at:
                await self._renew()
            return self._token

    async def register(self, signed_record: str) -> NodeRecord:
        """Publish this node's record; return it as the cloud has stored it."""
        answer = await self._call(
            "register node",
            "POST",
            "/mds/v1/nodes",
            content=signed_record.encode(),
            headers={"Content-Type": "application/jwt"},
        )
        try:
            return from_fields(answer)
        except WireError as exc:
            raise UplinkLost(f"cannot register node: {exc}") from exc

    async def account_key(self) -> bytes:
        """Return the key that all nodes of the account share."""
        answer = await self._call("get account key", "GET", "/mds/v1/account/key")
        try:
            return decode_base64url(str(answer["key"]))
        except (KeyError, ValueError) as exc:
            raise UplinkLost("cannot get account key: the answer holds none") from exc

    async def account_credential(self) -> str:
        """Return the credential by which this node joins clusters of its account."""
        answer = await self._call("get credential", "GET", "/mds/v1/account/credential")
        return str(answer.get("credential", ""))

    async def associate(self, account_token: Secret) -> str:
        """Make this node a member of the account of a token; return the account's id."""
        answer = await self._retrying(
            "associate account",
            "PUT",
            f"/mds/v1/nodes/{self._key.node_id}/account",
            token=account_token,
        )
        return str(answer.get("accountId", ""))

    async def authorize_device(self, edge_id_token: Secret) -> DeviceCodes:
        """Request a code with which this node can join an account (RFC 8628, 3.1)."""
        form = {"edge_id_token": edge_id_token.reveal()}
        path = "/mst/v1/oauth/device_authorization"
        answer = await self._send("join account", "POST", path, Secret(""), data=form)
        try:
            return DeviceCodes(
                user_code=str(answer["user_code"]),
                verification_uri=str(answer["verification_uri"]),
                verification_uri_complete=str(
                    answer.get("verification_uri_complete") or answer["verification_uri"]
                ),
                lasts_s=float(answer["expires_in"]),
                interval_s=float(answer.get("interval", CODE_INTERVAL_S)),
                device_code=Secret(str(answer["device_code"])),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise UplinkLost("cannot join account: the answer is malformed") from exc

    async def token_for_code(self, device_code: Secret) -> Secret | AuthorizationPending:
        """Request the token of the account whose owner has entered the code (RFC 8628, 3.4)."""
        form = {"grant_type": DEVICE_GRANT_TYPE, "device_code": device_code.reveal()}
        try:
            answer = await self._send(
                "join account", "POST", "/mst/v1/oauth/token", Secret(""), data=form
            )
        except CloudRefused as exc:
            if exc.code in ("authorization_pending", "slow_down"):
                return AuthorizationPending(slow_down=exc.code == "slow_down")
            raise
        return Secret(str(answer.get("access_token", "")))

    async def leave_account(self) -> None:
        """Delete this node at the cloud; its next registration is without an account."""
        await self._call("leave account", "DELETE", f"/mds/v1/nodes/{self._key.node_id}")

    async def signing_keys(self) -> dict[str, Any]:
        """Return the keys that sign access tokens, as a JSON Web Key Set."""
        return await self._retrying(
            "get signing keys", "GET", "/mst/v1/jwks.json", token=Secret("")
        )

    async def account_nodes(self) -> list[dict[str, Any]]:
        """Return the records of the nodes of this node's account."""
        answer = await self._retrying("list nodes", "GET", "/mds/v1/nodes?clusters=account")
        nodes = answer.get("data")
        return nodes if isinstance(nodes, list) else []

    async def near_nodes(self, radius_m: int) -> list[dict[str, Any]]:
        """Return the records of the account's nodes near this one, the nearest first."""
        path = f"/mds/v1/nodes?clusters=proximity&radius={radius_m}"
        nodes = (await self._retrying("list nodes nearby", "GET", path)).get("data")
        return nodes if isinstance(nodes, list) else []

    async def new_bep(self, ttl_s: float) -> BepGrant:
        """Request a tunnel to this node."""
        body = {"ttl_s": ttl_s, "run": self._run}
        answer = await self._call("get BEP", "POST", "/mss/v1/beps", json=body)
        try:
            relay = answer["relay"]
            return BepGrant(
                bep_id=str(answer["id"]),
                url=str(answer["url"]),
                host=str(relay["host"]),
                port=int(relay["port"]),
                token=Secret(str(answer["token"])),
                expires_at=float(answer["expires_at"]),
                tls=relay.get("tls") is True,
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise UplinkLost("cannot get BEP: the answer is malformed") from exc

    async def delete_bep(self, bep_id: str) -> None:
        """Delete a tunnel at the cloud."""
        await self._call("delete BEP", "DELETE", f"/mss/v1/beps/{bep_id}")

    async def beps(self) -> list[dict[str, Any]]:
        """Return the tunnels of this node that mSS counts."""
        beps = (await self._call("list BEPs", "GET", "/mss/v1/beps")).get("data")
        return [bep for bep in beps if isinstance(bep, dict)] if isinstance(beps, list) else []

    async def delete_beps(self, *, earlier_only: bool) -> None:
        """Delete all tunnels of this node at the cloud, or those of its earlier runs."""
        params = {"keep_run": self._run} if earlier_only else {}
        await self._call("delete BEPs", "DELETE", "/mss/v1/beps", params=params)

    async def mqtt_limits(self, known: MqttLimits) -> MqttLimits:
        """Return the limits of the cloud's broker; the known ones if the cloud does not answer."""
        try:
            return read_mqtt_limits(await self._call("get MQTT limits", "GET", "/mss/v1/mqtt"))
        except UplinkError as exc:
            logger.debug("%s", exc)
            return known

    async def _renew(self) -> None:
        before_s = self._clock.offset_s
        try:
            answer = await self._request_token()
        except CloudRefused:
            if abs(self._clock.offset_s - before_s) < WRONG_CLOCK_S:
                raise
            answer = await self._request_token()  # by the corrected clock
        token, ttl_s = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not isinstance(ttl_s, int | float) or ttl_s <= 0:
            raise UplinkLost("cannot get access token: the answer is malformed")
        self._token = Secret(token)
        left = self._rng.uniform(RENEW_BEFORE, RENEW_EARLIEST)
        self._renew_at = self._clock.boot_time() + ttl_s * (1 - left)
        logger.debug("got an access token for %.0f s", ttl_s)

    async def _request_token(self) -> dict[str, Any]:
        node_id = self._key.node_id
        claims = {"iss": node_id, "sub": node_id, "aud": "mst"}
        form = {
            "grant_type": GRANT_TYPE,
            "assertion": sign_as_node(claims, self._key, self._clock.now(), ASSERTION_TTL_S),
        }
        return await self._send(
            "get access token", "POST", "/mst/v1/oauth/token", Secret(""), data=form
        )

    async def _retrying(
        self, action: str, method: str, path: str, **request: Any
    ) -> dict[str, Any]:
        """Repeat an idempotent call until it works, at most ATTEMPTS times."""
        waits = delays(FIRST_WAIT_S, LONGEST_WAIT_S, self._rng, least=0.5)
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._call(action, method, path, **request)
            except UplinkLost as exc:
                logger.debug("%s; trying again", exc)
            await asyncio.sleep(next(waits))
        return await self._call(action, method, path, **request)

    async def _call(
        self, action: str, method: str, path: str, *, token: Secret | None = None, **request: Any
    ) -> dict[str, Any]:
        own = token is None
        shown = await self.access_token() if token is None else token
        try:
            return await self._send(action, method, path, shown, **request)
        except CloudRefused as exc:
            if own and isinstance(exc, _BadToken):
                self.drop_token()
            raise

    async def _send(
        self, action: str, method: str, path: str, token: Secret, **request: Any
    ) -> dict[str, Any]:
        headers = dict(request.pop("headers", {}))
        if token:
            headers["Authorization"] = f"Bearer {token.reveal()}"
        began = time.monotonic()
        try:
            response = await self._http.request(method, path, headers=headers, **request)
        except httpx.HTTPError as exc:
            why = str(exc) or type(exc).__name__
            raise UplinkLost(f"cannot {action}: {self._http.base_url}: {why}") from exc
        self._note_time(response.headers.get("Date", ""), time.monotonic() - began)
        return read_answer(action, response)

    def _note_time(self, date: str, took_s: float) -> None:
        before_s = self._clock.offset_s
        self._clock.measure(date, took_s)
        if abs(self._clock.offset_s - before_s) >= WRONG_CLOCK_S:
            logger.warning(
                "%s: corrected by the difference; set the clock (NTP)",
                self._clock.describe() or "clock agrees with the cloud's again",
            )


class _BadToken(CloudRefused):
    """The cloud refused the access token; a new one may work."""


def read_answer(action: str, response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of a successful answer; an empty one for an empty answer.

    Raises:
        CloudRefused: the cloud refuses; its reason is in the message.
        StaleClaim: the node shows a claim of its SEP that is older than one that the cloud knows.
        UplinkLost: it cannot answer now, or its answer is malformed.
    """
    status = response.status_code
    if not 200 <= status < 300:
        problem = _problem(response)
        if problem.get("error") == STALE_CLAIM:
            raise StaleClaim(f"cannot {action}: {problem.get('detail', '')}", _epoch(response))
        raise classify(action, status, problem.get("detail", ""), problem.get("error", ""))
    if not response.content:
        return {}
    try:
        answer = response.json()
    except ValueError as exc:
        raise UplinkLost(f"cannot {action}: the answer is not JSON") from exc
    if not isinstance(answer, dict):
        raise UplinkLost(f"cannot {action}: the answer is not a JSON object")
    return answer


def classify(action: str, status: int, reason: str, code: str = "") -> UplinkError:
    """Return the error for an HTTP status; code is the error code of OAuth, if there is one."""
    what = f"cannot {action}: "
    message = what + (reason.removeprefix(what) or f"HTTP {status}")
    if status >= 500 or status in _TRANSIENT:
        return UplinkLost(message)
    return _BadToken(message, code) if status == 401 else CloudRefused(message, code)


def _epoch(response: httpx.Response) -> int:
    epoch = response.json().get("epoch")
    return epoch if type(epoch) is int and 0 <= epoch < EPOCH_LIMIT else 0


def _problem(response: httpx.Response) -> dict[str, str]:
    """Return the texts of a problem document, shortened."""
    try:
        problem = response.json()
    except ValueError:
        return {}
    if not isinstance(problem, Mapping):
        return {}
    return {str(k): v[:300] for k, v in problem.items() if isinstance(v, str)}
