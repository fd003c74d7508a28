"""Calls the sidecar API of a gateway."""

import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from gateway.cli.client.target import OTHER_KEY, Target
from gateway.cli.errors import CliError
from web.addresses import is_loopback_host

NOT_ACCEPTED = "cannot accept token: "
NO_CREDENTIALS = "cannot allow this: what follows Bearer"
FULL = "; free some disk of the gateway: `hecate images prune`, `hecate rm NAME`"
TIMEOUT_S = 30.0  # a deployment may unpack an image before it answers


class SidecarClient:
    """A connection to one gateway's API; use as an async context manager."""

    def __init__(self, target: Target, timeout_s: float = TIMEOUT_S) -> None:
        self.url, self._where = target.url, target.where
        self._http = httpx.AsyncClient(
            base_url=target.url,
            headers={"Authorization": f"Bearer {target.key.reveal()}"},
            timeout=httpx.Timeout(timeout_s, connect=5),
            verify=trust_of(target.url, os.environ, target.ca_file),
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
            raise CliError(f"cannot {what}: {_why_no_answer(exc, self._where)}") from exc
        why = _why_refused(response, path)
        if why:
            raise CliError(f"cannot {what}: {self._where} {why}")
        return decode_answer(what, response)

    @contextlib.asynccontextmanager
    async def stream(
        self, what: str, method: str, path: str, **request: Any
    ) -> AsyncIterator[httpx.Response]:
        """Yield an answer whose body comes piece by piece; CliError when the connection fails."""
        if request.get("timeout", ...) is None:
            del request["timeout"]
        try:
            async with self._http.stream(method, path, **request) as response:
                yield response
        except httpx.HTTPError as exc:
            raise CliError(f"cannot {what}: {_why_no_answer(exc, self._where)}") from exc

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
    """Return the JSON of a good answer, or raise CliError with the error of the server."""
    if response.is_error:
        problem = _problem(response)
        hint = FULL if response.status_code == httpx.codes.INSUFFICIENT_STORAGE else ""
        text = problem if problem.startswith("cannot ") else f"cannot {what}: {problem}"
        raise CliError(f"{text}{hint}")
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError as exc:
        raise CliError(f"cannot {what}: {response.url} did not answer with JSON") from exc


def trust_of(
    url: str, environ: Mapping[str, str], ca_file: Path | None = None
) -> ssl.SSLContext | bool:
    """Return the authorities for a server: of the context, of HECATE_CA_FILE, or of the system."""
    file = str(ca_file or environ.get("HECATE_CA_FILE", ""))
    if not file or not url.startswith("https:"):
        return url.startswith("https:")  # plain HTTP verifies nothing, and loads nothing
    where = f"--ca-file of the context, {file}" if ca_file else f"HECATE_CA_FILE = {file}"
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as exc:
        raise CliError(f"cannot use {where}: {exc.strerror or exc}") from exc


def is_loopback(url: str) -> bool:
    """Return whether a URL stays on this machine."""
    return is_loopback_host(urlsplit(url).hostname or "")


def _problem(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return f"HTTP {response.status_code}"
    if not isinstance(body, dict):
        return f"HTTP {response.status_code}"
    text = body.get("detail") or body.get("title") or body.get("message")
    return str(text) if text else f"HTTP {response.status_code}"


def _why_refused(response: httpx.Response, path: str) -> str:
    """Return a reason that another command line mends; "" when the server has the better one."""
    problem = _problem(response)
    why = problem.removeprefix(NOT_ACCEPTED)
    is_wrong = why != problem or problem.startswith(NO_CREDENTIALS)  # mCM answers 403
    if response.status_code == httpx.codes.UNAUTHORIZED or is_wrong:
        why = f" ({why})" if why != problem and "malformed" not in why else ""
        return f"does not take this API key or access token{why}; {OTHER_KEY}"
    if response.status_code == httpx.codes.FORBIDDEN and "lacks scope" in problem:
        scope = problem.rpartition(" ")[2]
        return f"wants an access token with scope {scope}, or its API key; {OTHER_KEY}"
    if response.status_code == httpx.codes.NOT_FOUND and (
        not problem.startswith("cannot ") or problem.startswith(f"cannot find {path}")
    ):
        return "is not the API of a gateway, or of an older one; give another --url"
    return ""


def _why_no_answer(exc: httpx.HTTPError, url: str) -> str:
    if isinstance(exc, httpx.ConnectError) and "CERTIFICATE_VERIFY_FAILED" in str(exc):
        why = str(exc).partition("certificate verify failed: ")[2].partition(" (_ssl")[0]
        return (
            f"{url} has a certificate that this machine does not trust ({why or exc}); "
            "give HECATE_CA_FILE, or --ca-file of `hecate context add`"
        )
    if isinstance(exc, httpx.ConnectError) and "SSL" in str(exc):
        return f"{url} does not speak TLS ({exc}); is it http://?"
    if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout):
        return f"no gateway answers at {url}; start one with `hecate up`, or give --url"
    if isinstance(exc, httpx.TimeoutException):
        return f"{url} did not answer in time; its log says why, a restart may help"
    why = str(exc) or type(exc).__name__
    return f"the connection to {url} broke ({why}); is it the API of a gateway?"
