"""Holds the users and rights of every listener, and reads their files again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from broker.access.certificates import CertificateSource
from broker.access.passwords.password_file import PasswordFile
from broker.access.rights.acl import EVERYTHING, AccessList
from broker.access.rights.acl_file import read_acl
from broker.access.rights.rules import ANONYMOUS
from broker.access.source import AnonymousSource, Chain, Source
from broker.access.tokens import TokenSource, TokenTerms
from broker.policy import Accepted, AuthExchange, Credentials, Identity, Refusal, Step
from broker.standalone.conf.settings import AccessSettings, Anonymous, BrokerSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from joserfc.jwk import KeySet

    from broker.access.passwords.hashes import PasswordHash

MARK = "@"  # prefix of the group that names a client's listener, if that has its own rights


@dataclass(frozen=True, slots=True)
class RealmFiles:
    """The contents of the files of one realm."""

    users: Mapping[str, PasswordHash] | None
    keys: KeySet | None
    rights: AccessList


class Realm:
    """The users and rights of one listener, or of all that have none of their own."""

    def __init__(self, access: AccessSettings) -> None:
        self._access = access
        self._passwords = PasswordFile(access.password_file) if access.password_file else None
        tokens = access.tokens
        self._tokens = (
            TokenSource(
                tokens.keys, TokenTerms(tokens.issuer, tokens.audience, tokens.groups_claim)
            )
            if tokens
            else None
        )
        self.chain = Chain(self._sources())
        self.rights = AccessList()

    def read(self) -> RealmFiles:
        """Return the contents of the files; AccessError when one of them cannot be used."""
        acl_file = self._access.acl_file
        given = AccessList(EVERYTHING if self._access.allow_everything else ())
        return RealmFiles(
            self._passwords.read() if self._passwords else None,
            self._tokens.read() if self._tokens else None,
            read_acl(acl_file) if acl_file else given,
        )

    def take(self, files: RealmFiles) -> frozenset[str]:
        """Use these contents from now on; return users that are gone or have a new password."""
        self.rights = files.rights
        if self._tokens is not None and files.keys is not None:
            self._tokens.take(files.keys)
        if self._passwords is not None and files.users is not None:
            return self._passwords.take(files.users)
        return frozenset()

    def has_user(self, name: str) -> bool:
        """Return whether the password file knows a user."""
        return self._passwords is not None and self._passwords.has(name)

    def knows(self, name: str) -> bool:
        """Return whether a user still exists; only a realm with a password file alone knows."""
        is_certified = self._access.certificate_name is not None
        if self._passwords is None or self._tokens is not None or is_certified:
            return True
        return name == ANONYMOUS or self._passwords.has(name)

    def close(self) -> None:
        """End the threads."""
        if self._passwords is not None:
            self._passwords.close()

    def _sources(self) -> list[Source]:
        access = self._access
        sources: list[Source] = []
        if access.certificate_name is not None:
            sources.append(CertificateSource(access.certificate_name))
        sources += [each for each in (self._tokens, self._passwords) if each is not None]
        if access.anonymous is not Anonymous.NO:
            network = access.anonymous is Anonymous.NETWORK
            sources.append(AnonymousSource(network=network, ignores_names=not sources))
        return sources


class Realms:
    """The broker's Authenticator and Authorizer; refuses everything until take()."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._common = Realm(settings.access)
        self._own = {each.name: Realm(each.access) for each in settings.listeners if each.access}
        self._realms = (self._common, *self._own.values())

    def read(self) -> list[RealmFiles]:
        """Return the contents of all files; may be called in a thread.

        Raises:
            AccessError: one of them cannot be used.
        """
        return [realm.read() for realm in self._realms]

    def take(self, found: list[RealmFiles]) -> frozenset[str]:
        """Use these contents from now on; return users that are gone or have a new password."""
        gone = [realm.take(files) for realm, files in zip(self._realms, found, strict=True)]
        return frozenset().union(*gone)

    def close(self) -> None:
        """End the threads."""
        for realm in self._realms:
            realm.close()

    def authenticate(
        self, credentials: Credentials
    ) -> Identity | Refusal | Awaitable[Identity | Refusal]:
        """Ask the users of the listener."""
        answer = self._chain(credentials).authenticate(credentials)
        if isinstance(answer, Identity):
            return self._mark(answer, credentials)
        return answer if isinstance(answer, Refusal) else self._wait(answer, credentials)

    def begin(self, method: str, credentials: Credentials) -> AuthExchange | None:
        """Ask the users of the listener, by a method of several steps."""
        exchange = self._chain(credentials).begin(method, credentials)
        if exchange is None:
            return None
        return _Marking(exchange, lambda identity: self._mark(identity, credentials))

    def may_publish(self, identity: Identity, topic: str) -> bool:
        """Ask the rights of the listener by which the client came in."""
        rights = self._rights(identity)
        return rights is not None and rights.may_publish(identity, topic)

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:
        """Ask the rights of the listener by which the client came in."""
        rights = self._rights(identity)
        return rights is not None and rights.may_subscribe(identity, topic_filter)

    def may_read_all(self, identity: Identity, topic_filter: str) -> bool:
        """Ask the rights of the listener by which the client came in."""
        rights = self._rights(identity)
        return rights is not None and rights.may_read_all(identity, topic_filter)

    def may_read(self, identity: Identity, topic: str) -> bool:
        """Ask the rights of the listener by which the client came in."""
        rights = self._rights(identity)
        return rights is not None and rights.may_read(identity, topic)

    def knows(self, identity: Identity) -> bool | None:
        """Ask the users of the listener by which the client came in, if there still is one."""
        realm = self._realm_of(identity)
        return realm is None or realm.knows(identity.name)

    def has_user(self, name: str) -> bool:
        """Return whether any password file knows a user."""
        return any(realm.has_user(name) for realm in self._realms)

    async def _wait(
        self, answer: Awaitable[Identity | Refusal], credentials: Credentials
    ) -> Identity | Refusal:
        outcome = await answer
        return outcome if isinstance(outcome, Refusal) else self._mark(outcome, credentials)

    def _chain(self, credentials: Credentials) -> Chain:
        return self._own.get(credentials.listener, self._common).chain

    def _mark(self, identity: Identity, credentials: Credentials) -> Identity:
        # a token must not choose the rights of a listener
        groups = {group for group in identity.groups if not group.startswith(MARK)}
        if credentials.listener in self._own:
            groups.add(MARK + credentials.listener)
        return (
            identity if groups == identity.groups else replace(identity, groups=frozenset(groups))
        )

    def _rights(self, identity: Identity) -> AccessList | None:
        realm = self._realm_of(identity)
        return realm.rights if realm is not None else None

    def _realm_of(self, identity: Identity) -> Realm | None:
        for group in identity.groups:
            if group.startswith(MARK):
                return self._own.get(group.removeprefix(MARK))
        return self._common


class _Marking:
    """An exchange that ends with the groups of its listener."""

    def __init__(self, exchange: AuthExchange, mark: Callable[[Identity], Identity]) -> None:
        self._exchange, self._mark = exchange, mark

    async def step(self, data: bytes | None) -> Step:
        outcome = await self._exchange.step(data)
        if isinstance(outcome, Accepted):
            return replace(outcome, identity=self._mark(outcome.identity))
        return outcome
