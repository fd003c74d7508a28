"""Builds the parts of the cloud and runs them in order. Read this first.

The parts start in this order: store and keys, broker, relay, services, API. No request is answered
before the parts that its answer needs are up. They stop in the reverse order: the API first, so
that it promises nothing that needs a stopped part.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter

from cloud.config import LOOPBACK, WILDCARDS, CloudConfig
from cloud.discovery import account_api
from cloud.discovery import api as discovery_api
from cloud.discovery.directory import NodeDirectory
from cloud.discovery.registry import NodeRegistry
from cloud.errors import StoreError
from cloud.health import Health
from cloud.http import health as health_api
from cloud.http.application import build_application
from cloud.http.guard import AccessGuard
from cloud.http.server import running_server
from cloud.identity import api as identity_api
from cloud.identity import device_api
from cloud.identity.development import DevelopmentProvider
from cloud.identity.device_api import DeviceApproval
from cloud.identity.oidc import OpenIdProvider
from cloud.identity.signin import SignIn
from cloud.keyring import Keyring, open_directory, open_keyring, open_password, open_signing_key
from cloud.listeners import ListenerAddresses, ListenerCertificates, bind_api
from cloud.metrics import Metrics
from cloud.mqtt import limits_api
from cloud.mqtt.embedded import EmbeddedBroker, running_broker
from cloud.mqtt.policy import TokenAuthenticator, TopicAuthorizer, announce
from cloud.relay.in_process import InProcessRelay, running_relay
from cloud.signalling import bep_api, sep_api
from cloud.signalling.bounded_wait import BoundedWait
from cloud.signalling.placing import Placing
from cloud.signalling.sep import Sep
from cloud.storage.ports import StoreUpkeep
from cloud.storage.sqlite import SqliteCloudStore
from cloud.tokens import api as tokens_api
from cloud.tokens.device_grants import DeviceGrants
from cloud.tokens.issuer import Issuer
from protocol.tokens import LEEWAY_S
from settings.addresses import format_address
from settings.secret import Secret
from web import ServerCertificate

logger = logging.getLogger(__name__)

PURGE_INTERVAL_S = 60.0
SWEEP_INTERVAL_S = 5.0


async def run_cloud(config: CloudConfig, announce_ready: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or SIGINT; cloud.errors.StartError when a part cannot start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running_cloud(config) as addresses:
        announce_ready(addresses.line())
        await stop.wait()
        logger.info("stopping")
    logger.info("stopped")


@contextlib.asynccontextmanager
async def running_cloud(config: CloudConfig) -> AsyncIterator[ListenerAddresses]:
    """Run the cloud while the context lasts."""
    open_directory(config.store.directory)
    _warn_of_unreachable(config)
    certificates = ListenerCertificates.read(config)
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(bind_api(config.api))
        api = format_address(*listener.getsockname()[:2])
        own_url = f"{'https' if certificates.api else 'http'}://{api}"
        base = _open_base(config, config.api.public_url.rstrip("/") or own_url)
        stack.callback(base.store.close)
        await base.directory.load()
        broker = await stack.enter_async_context(_running_broker(base, certificates.mqtt))
        revoked = await base.store.revoked_beps(time.time())
        relay = await stack.enter_async_context(
            running_relay(config.relay, certificates.relay, base.issuer.published, revoked)
        )
        services = _build_services(base, broker, relay)
        stack.callback(services.sep.close)
        await stack.enter_async_context(_running_tasks(base.store, services.placing, certificates))
        app = build_application(services.routers, base.metrics)
        await stack.enter_async_context(
            running_server(
                app, listener, config.api, certificates.api, base.metrics, services.stop_waits
            )
        )
        logger.info("API listens on %s, state is in %s", api, config.store.directory)
        yield certificates.with_schemes(api, broker.listens_on, relay.listens_on)


@dataclass(frozen=True, slots=True)
class _Base:
    """The parts that the broker, the relay and the services share."""

    config: CloudConfig
    public_url: str
    store: SqliteCloudStore
    directory: NodeDirectory
    keyring: Keyring
    issuer: Issuer
    metrics: Metrics


def _open_base(config: CloudConfig, public_url: str) -> _Base:
    keyring = open_keyring(config.store.directory)
    store = SqliteCloudStore(config.store.directory / "cloud.db")
    issuer = Issuer(public_url, keyring.signing, keyring.published(), config.mst.ttl_s)
    return _Base(config, public_url, store, NodeDirectory(store), keyring, issuer, Metrics())


def _running_broker(
    base: _Base, certificate: ServerCertificate | None
) -> AbstractAsyncContextManager[EmbeddedBroker]:
    authenticator = TokenAuthenticator(
        lambda token: base.issuer.verify(token, time.time()),
        base.metrics.tokens_refused.labels("mqtt").inc,
        base.directory.is_registered,
    )
    return running_broker(
        base.config.mqtt,
        certificate,
        base.config.store.directory / "broker",
        (authenticator, TopicAuthorizer(base.directory.account_of)),
        base.config.mds.node_limit,
        base.metrics,
    )


@dataclass(frozen=True, slots=True)
class _Services:
    """The services that run and stop, and the routers of all."""

    sep: Sep
    waits: BoundedWait
    placing: Placing
    health: Health
    routers: list[APIRouter]

    def stop_waits(self) -> None:
        """Report that the cloud stops, and end the waits for nodes."""
        self.health.stop()
        self.waits.stop()


def _build_services(base: _Base, broker: EmbeddedBroker, relay: InProcessRelay) -> _Services:
    config, store, issuer, metrics = base.config, base.store, base.issuer, base.metrics
    sealing, waits = base.keyring.sealing, BoundedWait()
    sep = Sep(broker, sealing, config.mss.with_replica(), metrics, waits)
    placing = Placing(store, issuer, relay, config.mss)
    registry = NodeRegistry(store, base.directory, base.public_url, config.mds.node_limit)
    device_grants = DeviceGrants(store, issuer, base.public_url)
    sign_in = SignIn(store, issuer, _providers(config), _development_provider(config))
    guard = AccessGuard(issuer, metrics)
    approval = DeviceApproval(device_grants, sign_in, guard, metrics)
    health = Health([partial(_check_store, store), broker.check])
    broker.show_in(metrics)
    metrics.watch("sep_open_requests", "Requests to nodes that wait", lambda: len(sep))
    metrics.watch_awaited("beps", "BEPs that live", lambda: store.count_beps(time.time()))
    routers = [
        sep_api.build_router(store, sep, waits, metrics),  # first: most requests are for it
        tokens_api.build_router(issuer, store, device_grants, metrics),
        identity_api.build_router(sign_in, metrics),
        device_api.build_router(approval),
        discovery_api.build_router(registry, placing, broker, guard, metrics),
        account_api.build_router(registry, guard, issuer.for_cluster),
        bep_api.build_router(placing, sealing.public, guard, metrics),
        limits_api.build_router(announce(broker.limits), guard),
        health_api.build_router(health, metrics, config.metrics.token),
    ]
    if config.mid.development:
        routers.append(identity_api.build_development_router(sign_in, metrics))
    return _Services(sep, waits, placing, health, routers)


@contextlib.asynccontextmanager
async def _running_tasks(
    store: StoreUpkeep, placing: Placing, certificates: ListenerCertificates
) -> AsyncIterator[None]:
    """Run the recurring tasks; the first failure of one ends the cloud."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_purge(store), name="purge"),
            group.create_task(_sweep(placing), name="sweep"),
        ]
        for certificate in certificates.all():
            name = f"TLS {certificate.section}"
            tasks.append(group.create_task(certificate.follow(), name=name))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _warn_of_unreachable(config: CloudConfig) -> None:
    if config.api.host in WILDCARDS and not config.api.public_url:
        logger.warning("SEP URLs will name %s: set [api] public_url", config.api.host)
    if config.relay.host in WILDCARDS and not config.relay.public_host:
        logger.warning("BEP URLs will name %s: set [relay] public_host", config.relay.host)


def _providers(config: CloudConfig) -> list[OpenIdProvider]:
    return [OpenIdProvider(p.issuer, p.client_id) for p in config.mid.providers]


def _development_provider(config: CloudConfig) -> DevelopmentProvider | None:
    if not config.mid.development:
        return None
    password = config.store.directory / "dev-password"
    key = open_signing_key(config.store.directory / "development-key.pem")
    provider = DevelopmentProvider(key, Secret(open_password(password)))
    logger.warning(
        "development login is on: the password in %s admits user dev%s",
        password,
        "" if config.api.host in LOOPBACK else ", and it is reachable from the network",
    )
    return provider


async def _check_store(store: StoreUpkeep) -> str:
    try:
        await store.ping()
    except StoreError as exc:
        return str(exc)
    return ""


async def _purge(store: StoreUpkeep) -> None:
    while True:
        try:
            await store.purge(time.time(), 2 * LEEWAY_S)
        except StoreError as exc:
            logger.warning("cannot purge store: %s", exc)
        await asyncio.sleep(PURGE_INTERVAL_S)


async def _sweep(placing: Placing) -> None:
    while True:
        await asyncio.sleep(SWEEP_INTERVAL_S)
        try:
            await placing.sweep(time.time(), time.monotonic())
        except StoreError as exc:
            logger.warning("cannot end BEPs that no node serves: %s", exc)
