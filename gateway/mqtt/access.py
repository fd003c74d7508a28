"""Authenticates the clients of the gateway's broker and authorizes their topics.

The default is denial. Of the `$…` topics, joining devices use their own two, and a container
writes its dead letters.
"""

import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from broker import Credentials, Identity, OverflowRule, Refusal
from broker.messages.topics import covers
from broker.policy import AuthExchange
from gateway.addresses import is_loopback
from gateway.devices.registry import DeviceRegistry
from gateway.devices.settings import DeviceRights
from gateway.links.names import LISTENER as LINKS
from gateway.mqtt.device_logins import CLAIM_USER, DeviceLogins, joining_client_id
from gateway.mqtt.groups import CLAIM, CONTAINER, DEVICE, PERSON, USER
from gateway.uplink.rules import capture
from microservice.mqtt import dead_letters
from protocol.ids import DEVICE_ID
from protocol.topics import about_topic, credentials_topic, join_request, join_response
from settings.secret import Secret

if TYPE_CHECKING:  # a gateway without [broker.access] does not load it
    from gateway.mqtt.users import BrokerUsers

logger = logging.getLogger(__name__)

CONTAINERS = "containers"  # the name of the Unix socket's listener
JOIN_USER = "join"  # a board without a claim token, which waits for approval
API_USER = "api"  # a person or program that has the API key


class RightsSource(Protocol):
    """Gives what a container may read and write, and what happens when it does not keep up."""

    @property
    def subscribe(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def publish(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def own_topics(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def overflow(self) -> OverflowRule: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class AccessPorts:
    """The functions of other parts that access uses."""

    container_rights: Callable[[str, bytes], RightsSource | None]  # by user name and password
    logins: DeviceLogins
    device_rights: DeviceRights


class Access:
    """The broker's Authenticator and Authorizer."""

    def __init__(
        self,
        registry: DeviceRegistry,
        api_key: Secret,
        ports: AccessPorts,
        users: "BrokerUsers | None" = None,
        *,
        loopback_anonymous: bool,
    ) -> None:
        self._registry, self._api_key = registry, api_key
        self._ports, self._loopback_anonymous = ports, loopback_anonymous
        self._users = users
        self._container_rights: dict[str, RightsSource] = {}

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        """Return the identity of a login, or the refusal."""
        user = credentials.username or ""
        if credentials.listener == CONTAINERS:
            return self._container(credentials)
        if credentials.listener == LINKS:
            return await self._ports.logins.linked(credentials)
        if not user and not credentials.password and credentials.certificate is None:
            return self._anonymous(credentials)
        if user == API_USER:
            return self._holder_of_api_key(credentials)
        return await self._device_or_user(user, credentials)

    async def _device_or_user(self, user: str, credentials: Credentials) -> Identity | Refusal:
        logins = self._ports.logins
        if user == CLAIM_USER:
            return logins.claim(credentials)
        if user == JOIN_USER:
            return logins.pending(credentials)
        if DEVICE_ID.fullmatch(user) or logins.has_certificate(credentials):
            return await logins.device(credentials)
        return await self._user(credentials)

    def begin(self, method: str, credentials: Credentials) -> AuthExchange | None:
        """Return a new run of an authentication method that [broker.access] offers, or None."""
        if self._users is None or credentials.listener == CONTAINERS:
            return None
        return self._users.begin(method, credentials)

    def may_publish(self, identity: Identity, topic: str) -> bool:
        """Return whether an identity may write a topic."""
        if USER in identity.groups:
            return self._users is not None and self._users.may_publish(identity, topic)
        if CLAIM in identity.groups:
            return topic == join_request(joining_client_id(identity))
        if DEVICE in identity.groups and topic == about_topic(identity.name):
            return False  # it is the gateway's
        if topic in self._own_topics(identity):
            return True
        return any(capture(f, topic) is not None for f in self._writable(identity))

    def knows(self, identity: Identity) -> bool | None:
        """Return whether an identity of an earlier run exists; None until a container logs in."""
        if CONTAINER in identity.groups and identity.name not in self._container_rights:
            return None
        if DEVICE in identity.groups:
            return self._is_device(identity)
        if USER in identity.groups:
            return self._users is not None and self._users.knows(identity)
        return True

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:
        """Return whether an identity may read everything that a filter matches."""
        if USER in identity.groups:
            return self._users is not None and self._users.may_subscribe(identity, topic_filter)
        if CLAIM in identity.groups:
            return topic_filter == join_response(joining_client_id(identity))
        if DEVICE in identity.groups and topic_filter == credentials_topic(identity.name):
            return self._is_device(identity)
        return any(covers(f, topic_filter) for f in self._readable(identity))

    def may_read_all(self, identity: Identity, topic_filter: str) -> bool:
        """Return whether nothing that an allowed filter matches is kept from an identity."""
        if USER not in identity.groups:
            return True
        return self._users is not None and self._users.may_read_all(identity, topic_filter)

    def may_read(self, identity: Identity, topic: str) -> bool:
        """Return whether an identity may receive messages of a topic below its filter."""
        if USER not in identity.groups:
            return True
        return self._users is not None and self._users.may_read(identity, topic)

    def _container(self, credentials: Credentials) -> Identity | Refusal:
        name = credentials.username or ""
        rights = self._ports.container_rights(name, credentials.password or b"")
        if rights is None:
            return Refusal.BAD_CREDENTIALS
        self._container_rights[name] = rights
        # another client id could take over another session
        return Identity(name, name, frozenset({CONTAINER}), overflow=rights.overflow)

    def _anonymous(self, credentials: Credentials) -> Identity | Refusal:
        if self._loopback_anonymous and is_loopback(credentials.peer):
            return _person("anonymous", credentials)
        return Refusal.NOT_AUTHORIZED

    async def _user(self, credentials: Credentials) -> Identity | Refusal:
        if self._users is None:
            named = credentials.username is not None or credentials.password is not None
            return Refusal.BAD_CREDENTIALS if named else self._anonymous(credentials)
        answer = self._users.authenticate(credentials)
        return answer if isinstance(answer, Identity | Refusal) else await answer

    def _holder_of_api_key(self, credentials: Credentials) -> Identity | Refusal:
        if hmac.compare_digest(credentials.password or b"", self._api_key.reveal().encode()):
            return _person(API_USER, credentials)
        return Refusal.BAD_CREDENTIALS

    def _is_device(self, identity: Identity) -> bool:
        device = self._registry.get(identity.name)
        return device is not None and not device.is_revoked

    def _own_topics(self, identity: Identity) -> tuple[str, ...]:
        rights = self._container_rights.get(identity.name)
        return rights.own_topics if CONTAINER in identity.groups and rights is not None else ()

    def _writable(self, identity: Identity) -> tuple[str, ...]:
        return self._filters(identity, "publish")

    def _readable(self, identity: Identity) -> tuple[str, ...]:
        return self._filters(identity, "subscribe")

    def _filters(self, identity: Identity, action: str) -> tuple[str, ...]:
        if PERSON in identity.groups:
            return ("#", f"{dead_letters.ROOT}#") if action == "subscribe" else ("#",)
        device = self._registry.get(identity.name)
        if DEVICE in identity.groups and device is not None and not device.is_revoked:
            return self._ports.device_rights.filters_of(device, action)
        rights = self._container_rights.get(identity.name)
        if CONTAINER in identity.groups and rights is not None:
            filters = rights.publish if action == "publish" else rights.subscribe
            return tuple(f for f in filters if not f.startswith("$"))
        return ()


def _person(name: str, credentials: Credentials) -> Identity | Refusal:
    if DEVICE_ID.match(credentials.client_id):
        return Refusal.BAD_CREDENTIALS  # MQTT would close the connection of that device
    return Identity(name, credentials.client_id, frozenset({PERSON}))
