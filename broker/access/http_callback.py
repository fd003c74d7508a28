"""Asks an HTTP service for the identity of a client.

POST {"client_id", "username", "password", "listener", "peer"} is answered by
200 {"user": "anna", "groups": ["operators"]}, 403 (no), or 404 (not known here).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.policy import Credentials, Identity, Refusal

if TYPE_CHECKING:
    from httpx import AsyncClient, Response


class HttpQuestion:
    """A coroutine for CallbackSource; the client, with its timeouts and TLS, is the caller's."""

    def __init__(self, client: AsyncClient, url: str) -> None:
        self._client, self._url = client, url

    async def __call__(self, credentials: Credentials) -> Identity | Refusal | None:
        """Ask; raises when there is no answer that means anything."""
        try:
            password = None if credentials.password is None else credentials.password.decode()
        except UnicodeDecodeError:
            return Refusal.BAD_CREDENTIALS  # JSON has texts only
        question = {
            "client_id": credentials.client_id,
            "username": credentials.username,
            "password": password,
            "listener": credentials.listener,
            "peer": credentials.peer,
        }
        response = await self._client.post(self._url, json=question, follow_redirects=False)
        match response.status_code:
            case 200:
                return _identity(response, credentials.client_id)
            case 401 | 403:
                return Refusal.BAD_CREDENTIALS
            case 404:
                return None
            case status:
                raise ValueError(f"cannot use answer of {self._url}: status {status}")


def _identity(response: Response, client_id: str) -> Identity:
    answer: Any = response.json()
    user, groups = answer["user"], answer.get("groups", [])
    if not isinstance(user, str) or not all(isinstance(group, str) for group in groups):
        raise ValueError("cannot use answer: user is a text, groups a list of texts")
    return Identity(user, client_id, frozenset(groups))
