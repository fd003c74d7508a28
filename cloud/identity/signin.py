"""A person signs in: an ID token becomes an access token for their account."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from cloud.identity.development import DevelopmentProvider
from cloud.identity.provider import Person, Provider, issuer_of
from cloud.store import Store
from cloud.tokens.access import ACCOUNT_SCOPES, grant_scopes
from cloud.tokens.assertion import read_edge_identity
from cloud.tokens.issuer import AccessToken, Issuer
from protocol.errors import TokenError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SignInRequest:
    """What a person's client sends."""

    id_token: str = field(repr=False)
    edge_id_token: str = field(repr=False)
    scope: str


class SignIn:
    """Knows the providers, and turns their ID tokens into access tokens."""

    def __init__(
        self,
        store: Store,
        issuer: Issuer,
        providers: Iterable[Provider],
        development: DevelopmentProvider | None,
    ) -> None:
        self.development = development
        self._store, self._issuer = store, issuer
        self._providers = {provider.issuer: provider for provider in providers}
        if development is not None:
            self._providers[development.issuer] = development

    async def exchange(self, request: SignInRequest, now: float) -> AccessToken:
        """Return an access token for the person's account, bound to a node if one is given.

        Raises:
            TokenError: the ID token or the edge ID token does not hold.
            ProviderUnreachableError: the ID token cannot be checked now.
            ProblemError: no scope that was asked for can be granted.
        """
        scope = grant_scopes(request.scope, ACCOUNT_SCOPES)
        person, account_id = await self._person(request.id_token, now)
        node_id = self._bound_node(request.edge_id_token, account_id, now)
        logger.info("account %s signed in through %s", account_id, person.issuer)
        return self._issuer.for_account(account_id, scope, person.client_id, node_id, now)

    async def account_of(self, id_token: str, now: float) -> str:
        """Return the account of the person in an ID token.

        Raises:
            TokenError: the ID token does not hold.
            ProviderUnreachableError: it cannot be checked now.
        """
        _, account_id = await self._person(id_token, now)
        return account_id

    async def _person(self, id_token: str, now: float) -> tuple[Person, str]:
        provider = self._providers.get(issuer_of(id_token))
        if provider is None:
            raise TokenError(
                "cannot accept ID token: its issuer is not configured in [[mid.providers]]"
            )
        person = await provider.verify(id_token, now)
        account_id = await asyncio.to_thread(
            self._store.account_for, person.issuer, person.subject, now
        )
        return person, account_id

    def _bound_node(self, edge_id_token: str, account_id: str, now: float) -> str:
        if not edge_id_token:
            return ""
        edge = read_edge_identity(edge_id_token, now)
        owner = self._store.account_of(edge.node_id) or edge.account_id
        if owner not in ("", account_id):
            raise TokenError("cannot bind token: the node belongs to another account")
        return edge.node_id
