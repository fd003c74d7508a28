"""The sidecar API of a gateway, as the commands use it."""

import contextlib
import ipaddress
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from gateway.cli.errors import CliError
from gateway.config import load_gateway_config
from gateway.errors import ConfigError
from protocol.secret import Secret

DEFAULT_URL = "http://127.0.0.1:8083"
TIMEOUT_S = 30.0  # a deployment may unpack an image before it answers


@dataclass(frozen=True, slots=True)
class Target:
    """Which gateway a command speaks to, and with which key."""

    url: str
    key: Secret


def find_target(url: str | None, state: Path | None, environ: Mapping[str, str]) -> Target:
    """Return the gateway that options and environment name; CliError when there is no key."""
    url = (url or environ.get("HECATE_URL") or DEFAULT_URL).rstrip("/")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise CliError(f"cannot use {url}: must be like {DEFAULT_URL}")
    key = environ.get("HECATE_API_KEY", "")
    return Target(url, Secret(key) if key else read_key(find_state(state, environ) / "api-key"))


def find_state(state: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the state folder that was given, or that of the gateway's configuration."""
    if state is not None:
        return Path(os.path.abspath(state.expanduser()))  # noqa: PTH100  # keeps symbolic links
    try:
        return load_gateway_config(None, environ).node.state
    except ConfigError as exc:
        raise CliError(str(exc)) from exc


def read_key(path: Path) -> Secret:
    """Return the API key in a file; CliError says where else it may come from."""
    try:
        key = path.read_text().strip()
    except OSError as exc:
        raise CliError(
            f"cannot read API key {path}: {(exc.strerror or str(exc)).lower()}; start the gateway "
            "first, or give --state DIR or HECATE_API_KEY"
        ) from exc
    if not key:
        raise CliError(f"cannot read API key {path}: it is empty")
    return Secret(key)


class Sidecar:
    """A connection to one gateway's API; use as an async context manager."""

    def __init__(self, target: Target, timeout_s: float = TIMEOUT_S) -> None:
        self.url = target.url
        self._http = httpx.AsyncClient(
            base_url=target.url,
            headers={"Authorization": f"Bearer {target.key.reveal()}"},
            timeout=httpx.Timeout(timeout_s, connect=5),
            verify=_trust(target.url, os.environ),
            trust_env=not is_loopback(target.url),  # a proxy cannot reach this machine
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def call(self, what: str, method: str, path: str, **request: Any) -> Any:
        """Return the decoded answer of one call.

        Raises:
            CliError: "cannot <what>: why".
        """
        try:
            response = await self._http.request(method, path, **request)
        except httpx.HTTPError as exc:
            raise CliError(f"cannot {what}: {_why_no_answer(exc, self.url)}") from exc
        return decode_answer(what, response)

    @contextlib.asynccontextmanager
    async def stream(
        self, what: str, method: str, path: str, **request: Any
    ) -> AsyncIterator[httpx.Response]:
        """Lend an answer whose body comes piece by piece; CliError when the connection fails."""
        if request.get("timeout", ...) is None:
            del request["timeout"]
        try:
            async with self._http.stream(method, path, **request) as response:
                yield response
        except httpx.HTTPError as exc:
            raise CliError(f"cannot {what}: {_why_no_answer(exc, self.url)}") from exc

    async def unready(self) -> list[str]:
        """Return why the gateway is not ready; nothing when it is."""
        try:
            response = await self._http.get("/readyz")
            if response.status_code == httpx.codes.OK:
                return []
            reasons = response.json()["reasons"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as exc:
            return [f"API: {exc or type(exc).__name__}"]
        return [str(reason) for reason in reasons]

    async def rpc(self, method: str, *params: str) -> dict[str, Any]:
        """Return the result of a JSON-RPC call; CliError when it fails."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = await self.call(f"call {method}", "POST", "/jsonrpc/v1", json=body)
        if not isinstance(answer, dict) or not isinstance(answer.get("result"), dict):
            error = answer.get("error") if isinstance(answer, dict) else None
            why = str(error.get("message") if isinstance(error, dict) else "not a JSON-RPC answer")
            raise CliError(why if why.startswith("cannot ") else f"cannot call {method}: {why}")
        result: dict[str, Any] = answer["result"]
        return result


def decode_answer(what: str, response: httpx.Response) -> Any:
    """Return the JSON of a good answer, or raise CliError with what the server said."""
    if response.is_error:
        problem = _problem(response)
        raise CliError(problem if problem.startswith("cannot ") else f"cannot {what}: {problem}")
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError as exc:
        raise CliError(f"cannot {what}: {response.url} did not answer with JSON") from exc


def _trust(url: str, environ: Mapping[str, str]) -> ssl.SSLContext | bool:
    """Return who may vouch for a gateway: the authorities of HECATE_CA_FILE, or the system's."""
    file = environ.get("HECATE_CA_FILE", "")
    if not file or not url.startswith("https:"):
        return url.startswith("https:")  # plain HTTP verifies nothing, and loads nothing
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as exc:
        raise CliError(f"cannot use HECATE_CA_FILE = {file}: {exc.strerror or exc}") from exc


def is_loopback(url: str) -> bool:
    """Return whether a URL stays on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _problem(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return f"HTTP {response.status_code}"
    if not isinstance(body, dict):
        return f"HTTP {response.status_code}"
    text = body.get("detail") or body.get("title") or body.get("message")
    return str(text) if text else f"HTTP {response.status_code}"


def _why_no_answer(exc: httpx.HTTPError, url: str) -> str:
    if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout):
        return f"no gateway answers at {url}; start one with `hecate up`, or give --url"
    if isinstance(exc, httpx.TimeoutException):
        return f"{url} did not answer in time"
    return f"the connection to {url} broke ({str(exc) or type(exc).__name__})"
