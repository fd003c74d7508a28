"""The cloud: builds the parts, starts them, ends them. Read this first.

The order matters twice. Started: store and keys, broker, relay, API, so that nobody is answered
before what answers need is up. Stopped: the API first, so that nobody is promised anything by
parts that are gone.
"""

import asyncio
import contextlib
import logging
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import partial

from broker import Broker, BrokerError, Limits, Listener
from broker.journal import Journal, JournalError
from cloud.config import LOOPBACK, WILDCARDS, CloudConfig
from cloud.discovery.registry import NodeRegistry
from cloud.downlink import CommandGate
from cloud.errors import StartError
from cloud.health import Health
from cloud.http.application import build_web
from cloud.http.server import bind, build_server, cannot_listen, certificate_of
from cloud.identity.development import DevelopmentProvider
from cloud.identity.oidc import OpenIdProvider
from cloud.identity.signin import SignIn
from cloud.keyring import open_directory, open_keyring, open_password, open_signing_key
from cloud.metrics import Metrics
from cloud.mqtt.policy import (
    SESSIONS_PER_IDENTITY,
    TokenAuthenticator,
    TopicAuthorizer,
    announce,
)
from cloud.parts import CloudParts
from cloud.relay import Relay, RelayError
from cloud.signalling.bep import RelayAddress
from cloud.signalling.bounded_wait import BoundedWait
from cloud.signalling.placing import Placing
from cloud.signalling.sep import Sep
from cloud.storage.sqlite import CloudStore
from cloud.tokens.device_grants import DeviceGrants
from cloud.tokens.issuer import Issuer
from protocol.tokens import LEEWAY_S
from settings.addresses import format_address
from settings.secret import Secret
from web import HttpServer, ServerCertificate

logger = logging.getLogger(__name__)

PURGE_INTERVAL_S = 60.0
SWEEP_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of the cloud's listeners."""

    api: str
    mqtt: str
    relay: str
    schemes: tuple[str, str, str] = ("http://", "", "")  # of API, MQTT and relay

    def line(self) -> str:
        """Return the line that says that the cloud is ready."""
        api, mqtt, relay = self.schemes
        return (
            f"cloud ready: API {api}{self.api}, MQTT {mqtt}{self.mqtt}, relay {relay}{self.relay}"
        )


@dataclass(frozen=True, slots=True)
class Certificates:
    """What each listener shows its peers; None for a plain one."""

    api: ServerCertificate | None
    mqtt: ServerCertificate | None
    relay: ServerCertificate | None

    @classmethod
    def of(cls, config: CloudConfig) -> "Certificates":
        """Read the files that the configuration names; StartError when they do not serve."""
        return cls(
            certificate_of(config.api, "api"),
            certificate_of(config.mqtt, "mqtt"),
            certificate_of(config.relay, "relay"),
        )

    def all(self) -> list[ServerCertificate]:
        """Return those that there are."""
        return [one for one in (self.api, self.mqtt, self.relay) if one is not None]

    def schemes(self) -> tuple[str, str, str]:
        """Return what stands before the addresses of API, MQTT and relay."""
        return (
            "https://" if self.api else "http://",
            "mqtts://" if self.mqtt else "",
            "https://" if self.relay else "",
        )


async def run_cloud(config: CloudConfig, announce: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or SIGINT; cloud.errors.StartError when a part cannot start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running_cloud(config) as addresses:
        announce(addresses.line())
        await stop.wait()
        logger.info("stopping")
    logger.info("stopped")


@contextlib.asynccontextmanager
async def running_cloud(config: CloudConfig) -> AsyncIterator[Addresses]:
    """Run the cloud while the context lasts."""
    open_directory(config.store.directory)
    _warn_of_unreachable(config)
    config = replace(config, mss=config.mss.with_replica())
    certificates = Certificates.of(config)
    async with contextlib.AsyncExitStack() as stack:
        api_socket = bind(config.api)
        stack.callback(api_socket.close)
        api_host, api_port = api_socket.getsockname()[:2]
        api = format_address(api_host, api_port)
        store = CloudStore(config.store.directory / "cloud.db")
        stack.callback(store.close)
        public_url = config.api.public_url.rstrip("/") or f"{certificates.schemes()[0]}{api}"
        parts, broker_address, relay_address = await _start_parts(
            config, certificates, public_url, store, stack
        )
        server = build_server(build_web(parts), config.api, certificates.api)
        for name in server.bounds.counts():
            parts.metrics.watch(
                f"api_{name}", f"HTTP: {name.replace('_', ' ')}", partial(_count, server, name)
            )
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        for certificate in certificates.all():
            following = tasks.create_task(certificate.follow(), name=f"TLS {certificate.section}")
            stack.callback(following.cancel)
        purge = tasks.create_task(_purge(store), name="purge")
        stack.callback(purge.cancel)
        sweep = tasks.create_task(_sweep(parts.placing), name="sweep")
        stack.callback(sweep.cancel)
        serving = tasks.create_task(server.serve([api_socket]), name="api")
        stack.push_async_callback(_stop_server, server, parts, serving)
        await _until_started(server, serving)
        logger.info("API listens on %s, state is in %s", api, config.store.directory)
        yield Addresses(api, broker_address, relay_address, certificates.schemes())


async def _start_parts(
    config: CloudConfig,
    certificates: Certificates,
    public_url: str,
    store: CloudStore,
    stack: contextlib.AsyncExitStack,
) -> tuple[CloudParts, str, str]:
    keyring = open_keyring(config.store.directory)
    issuer = Issuer(public_url, keyring.signing, keyring.published(), config.mst.ttl_s)
    metrics, health = Metrics(), Health()
    broker, broker_address = await _start_broker(
        config, certificates.mqtt, issuer, store, metrics, stack
    )
    relay, address = await _start_relay(config, certificates.relay, issuer, store, stack)
    bounded_wait = BoundedWait()
    sep = Sep(broker, keyring.sealing, config.mss, metrics, bounded_wait)
    stack.callback(sep.close)
    placing = Placing(store, issuer, relay, _public_relay(config, address), config.mss)
    parts = CloudParts(
        config=config,
        keyring=keyring,
        store=store,
        issuer=issuer,
        broker=broker,
        registry=NodeRegistry(store, public_url, config.mds.node_limit),
        sign_in=_build_sign_in(config, store, issuer),
        device_grants=DeviceGrants(store, issuer, public_url),
        sep=sep,
        bounded_wait=bounded_wait,
        placing=placing,
        metrics=metrics,
        health=health,
        mqtt_limits=announce(broker.limits),
    )
    _watch(parts)
    return parts, broker_address, format_address(*address)


async def _start_broker(
    config: CloudConfig,
    certificate: ServerCertificate | None,
    issuer: Issuer,
    store: CloudStore,
    metrics: Metrics,
    stack: contextlib.AsyncExitStack,
) -> tuple[Broker, str]:
    tls = certificate.context if certificate else None
    listener = Listener(config.mqtt.host, config.mqtt.port, tls=tls, websocket=True, plain_too=True)
    broker = Broker(
        [listener],
        TokenAuthenticator(
            lambda token: issuer.verify(token, time.time()),
            metrics.tokens_refused.labels("mqtt").inc,
            lambda node_id: store.node(node_id) is not None,
        ),
        TopicAuthorizer(store.account_of),
        Limits(
            sessions_per_identity=SESSIONS_PER_IDENTITY,
            stored_sessions=config.mds.node_limit + Limits().stored_sessions,
        ),
        store=_journal(config),
        sys_interval_s=0,  # nobody may read it here
    )
    CommandGate(broker, metrics.commands_refused.inc)
    try:
        await broker.start()
    except JournalError as exc:
        raise StartError(str(exc)) from exc
    except BrokerError as exc:
        cause = exc.__cause__ or exc
        raise cannot_listen(listener.host, listener.port, cause, "mqtt") from exc
    stack.push_async_callback(broker.stop)
    address = broker.addresses[0]
    return broker, format_address(*address) if isinstance(address, tuple) else str(address)


def _journal(config: CloudConfig) -> Journal | None:
    if config.mqtt.durability == "memory":
        return None
    return Journal(config.store.directory / "broker", config.mqtt.durability)


async def _start_relay(
    config: CloudConfig,
    certificate: ServerCertificate | None,
    issuer: Issuer,
    store: CloudStore,
    stack: contextlib.AsyncExitStack,
) -> tuple[Relay, tuple[str, int]]:
    relay = Relay(lambda: issuer.published, tls=certificate.context if certificate else None)
    for bep_id in store.revoked_beps(time.time()):
        relay.revoke(bep_id)  # a relay forgets; their tokens would be good again
    listener = (config.relay.host, config.relay.port)
    try:
        address = await relay.start(*listener)
    except RelayError as exc:
        raise cannot_listen(*listener, exc.__cause__ or exc, "relay") from exc
    stack.push_async_callback(relay.stop)
    return relay, address


def _warn_of_unreachable(config: CloudConfig) -> None:
    if config.api.host in WILDCARDS and not config.api.public_url:
        logger.warning("SEP URLs will name %s: set [api] public_url", config.api.host)
    if config.relay.host in WILDCARDS and not config.relay.public_host:
        logger.warning("BEP URLs will name %s: set [relay] public_host", config.relay.host)


def _public_relay(config: CloudConfig, address: tuple[str, int]) -> RelayAddress:
    return RelayAddress(
        config.relay.public_host or address[0],
        config.relay.public_port or address[1],
        config.relay.tls_cert is not None,
    )


def _build_sign_in(config: CloudConfig, store: CloudStore, issuer: Issuer) -> SignIn:
    development = None
    if config.mid.development:
        directory = config.store.directory
        development = DevelopmentProvider(
            open_signing_key(directory / "development-key.pem"),
            Secret(open_password(directory / "dev-password")),
        )
        logger.warning(
            "development login is on: whoever knows %s is user dev%s",
            directory / "dev-password",
            "" if config.api.host in LOOPBACK else ", and it is reachable from the network",
        )
    providers = [OpenIdProvider(p.issuer, p.client_id) for p in config.mid.providers]
    return SignIn(store, issuer, providers, development)


def _watch(parts: CloudParts) -> None:
    def check_store() -> str:
        try:
            parts.store.ping()
        except sqlite3.Error as exc:
            return f"store: {exc}"
        return ""

    def check_journal() -> str:
        kept = parts.broker.store
        return "broker: its disk is full" if kept is not None and kept.is_full else ""

    parts.health.checks += [check_store, check_journal]
    metrics = parts.metrics
    metrics.watch("sep_open_requests", "Requests to nodes that wait", lambda: len(parts.sep))
    metrics.watch("clients", "MQTT clients connected", lambda: len(parts.broker.connected()))
    metrics.watch("beps", "BEPs that live", lambda: parts.store.count_beps(time.time()))
    metrics.watch_broker(parts.broker)


def _count(server: HttpServer, name: str) -> float:
    return server.bounds.counts()[name]


async def _until_started(server: HttpServer, serving: asyncio.Task[None]) -> None:
    started = asyncio.ensure_future(server.listening.wait())
    await asyncio.wait({started, serving}, return_when=asyncio.FIRST_COMPLETED)
    started.cancel()


async def _stop_server(server: HttpServer, parts: CloudParts, serving: asyncio.Task[None]) -> None:
    parts.health.checks.append(lambda: "the cloud stops")
    parts.bounded_wait.stop()
    server.should_exit = True
    await asyncio.wait({serving})


async def _purge(store: CloudStore) -> None:
    while True:
        try:
            await asyncio.to_thread(store.purge, time.time(), 2 * LEEWAY_S)
        except sqlite3.Error as exc:
            logger.warning("cannot purge store: %s", exc)
        await asyncio.sleep(PURGE_INTERVAL_S)


async def _sweep(placing: Placing) -> None:
    while True:
        await asyncio.sleep(SWEEP_INTERVAL_S)
        try:
            await placing.sweep(time.time(), time.monotonic())
        except sqlite3.Error as exc:
            logger.warning("cannot end BEPs that nobody serves: %s", exc)
