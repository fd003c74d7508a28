"""Joins the gateway to the cloud's development account, and keeps a password for its MQTT."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.cli.client.sidecar import SidecarClient, decode_answer
from gateway.cli.errors import CliError
from gateway.storage.private_file import write_private
from settings.secret import Secret

logger = logging.getLogger(__name__)

USER = "dev"  # the user of the cloud's development provider
BINDING_SCOPE = "edge:mcm edge:clusters edge:account:associate edge:read:accountkey"
DATA_SCOPE = "hec:data"
RETRY_S = 30.0  # a token is renewed at half its life, so many tries fit before it ends


@dataclass(frozen=True, slots=True)
class AccountToken:
    """An access token of the account."""

    value: Secret
    expires_in_s: float


class DevelopmentAccount:
    """The sign-in of the development user at the cloud."""

    def __init__(self, cloud_url: str, password_file: Path, http: httpx.AsyncClient) -> None:
        self._url, self._password_file, self._http = cloud_url, password_file, http

    async def associate(self, sidecar: SidecarClient) -> str:
        """Bind the gateway to the account, unless it is; return the account id."""
        account_id = str((await sidecar.rpc("getMe")).get("accountId") or "")
        if account_id:
            return account_id
        proof = await sidecar.rpc("getEdgeIdToken")
        token = await self._sign_in(BINDING_SCOPE, edge_id_token=str(proof["id_token"]))
        result = await sidecar.rpc("associateAccount", token.value.reveal())
        return str(result["accountId"])

    async def bound_token(self, sidecar: SidecarClient) -> AccountToken:
        """Return a token of the account that is bound to the gateway's node."""
        proof = await sidecar.rpc("getEdgeIdToken")
        return await self._sign_in(BINDING_SCOPE, edge_id_token=str(proof["id_token"]))

    async def keep_token(self, path: Path) -> None:
        """Renew the token in a file for ever, at half its life."""
        while True:
            try:
                token = await self.write_token(path)
                delay_s = max(RETRY_S, token.expires_in_s / 2)
            except CliError as exc:
                logger.warning("cannot renew %s: %s", path, exc)
                delay_s = RETRY_S
            await asyncio.sleep(delay_s)

    async def write_token(self, path: Path) -> AccountToken:
        """Put a token for the account's data into a file that only its owner reads."""
        token = await self._sign_in(DATA_SCOPE)
        write_secret(path, token.value)
        return token

    async def _sign_in(self, scope: str, **more: str) -> AccountToken:
        try:
            password = self._password_file.read_text().strip()
        except OSError as exc:
            raise CliError(f"cannot sign in to the cloud: {self._password_file}: {exc}") from exc
        login = await self._post("/mid/v1/dev/login", {"username": USER, "password": password})
        form = {
            "grant_type": "id_token_signin",
            "id_token": str(login["id_token"]),
            "scope": scope,
            **more,
        }
        answer = await self._post("/mid/v1/token", form)
        return AccountToken(
            Secret(str(answer["access_token"])), float(answer.get("expires_in", 3600))
        )

    async def _post(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        what = "sign in to the cloud"
        try:
            response = await self._http.post(self._url + path, data=form)
        except httpx.HTTPError as exc:
            raise CliError(f"cannot {what}: {str(exc) or type(exc).__name__}") from exc
        answer = decode_answer(what, response)
        if not isinstance(answer, dict):
            raise CliError(f"cannot {what}: {path} did not answer with an object")
        return answer


def write_secret(path: Path, secret: Secret) -> None:
    """Replace a file's content in one step; it is never readable by others, nor half written."""
    write_private(path, secret.reveal().encode())
