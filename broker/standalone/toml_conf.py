"""Our own configuration file; docs/broker.md lists the keys."""

import dataclasses
import tomllib
from pathlib import Path
from typing import TypeVar

from broker.access.certificates import NameField
from broker.quota.limits import Limits
from broker.standalone.settings import (
    DURABILITIES,
    LEVELS,
    AccessSettings,
    Anonymous,
    BrokerSettings,
    ClientCertificates,
    ListenerSettings,
    MetricsSettings,
    TlsSettings,
    TokenSourceSettings,
    parse_address,
)
from broker.standalone.table import TomlTable
from broker.sys_topics import SYS_INTERVAL_S

_Word = TypeVar("_Word", bound=str)

TLS_KEYS = (
    "certificate", "key", "client_ca", "client_certificates", "revoked", "tls_minimum", "ciphers",
)  # fmt: skip


def parse_toml(text: str, folder: Path) -> tuple[BrokerSettings, list[str]]:
    """Return the settings and everything that is wrong; paths start at the file's folder."""
    problems: list[str] = []
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        return BrokerSettings((), AccessSettings()), [str(exc)]
    top = TomlTable(values, "", folder, problems)
    access = _access(top.table("access"))
    listeners = tuple(_listener(table) for table in top.tables("listener"))
    storage = top.table("storage")
    log, metrics = top.table("log"), top.table("metrics")
    settings = BrokerSettings(
        listeners=listeners or (ListenerSettings(),),
        access=access,
        limits=_limits(top.table("limits")),
        data=storage.path("folder"),
        durability=_word(storage, "durability", DURABILITIES, DURABILITIES[0]),
        log_level=_word(log, "level", LEVELS, "INFO"),
        sys_interval_s=metrics.number("sys_interval_s", SYS_INTERVAL_S, above=0, or_zero=True),
        metrics=_metrics(metrics),
    )
    for table in (storage, log, metrics, top):
        table.end()
    return settings, problems or settings.find_faults()


def _listener(table: TomlTable) -> ListenerSettings:
    path = table.path("path")
    if path is not None and table.has("address"):
        table.refuse("path", "a listener has an address or a path")
    host, port = _address(table, "127.0.0.1:1883")
    tls = _tls(table) if any(table.has(key) for key in TLS_KEYS) else None
    access = _access(table.table("access")) if table.has("access") else None
    settings = ListenerSettings(
        host="" if path else host,
        port=0 if path else port,
        path=path,
        tls=tls,
        access=access,
        websocket=table.flag("websocket"),
        origins=table.texts("origins"),
        proxies=table.texts("proxies"),
        connections=_connections(table),
    )
    table.know(*TLS_KEYS, "access", "address")
    table.end()
    return settings


def _address(table: TomlTable, default: str) -> tuple[str, int]:
    address = table.text("address", default)
    try:
        return parse_address(address)
    except ValueError as exc:
        table.refuse("address", f"{address!r} {exc}")
        return parse_address(default)


def _connections(table: TomlTable) -> int | None:
    if not table.has("connections"):
        table.know("connections")
        return None
    return int(table.number("connections", 1, above=0))


def _metrics(table: TomlTable) -> MetricsSettings | None:
    is_open = table.flag("open_to_network")
    if not table.has("address"):
        table.know("address")
        if is_open:
            table.refuse("open_to_network", "goes with address")
        return None
    return MetricsSettings(*_address(table, "127.0.0.1:9234"), is_open)


def _tls(table: TomlTable) -> TlsSettings:
    certificate, key = table.path("certificate"), table.path("key")
    if certificate is None or key is None:
        table.refuse("certificate", "TLS needs certificate and key")
        certificate = key = Path()
    return TlsSettings(
        certificate=certificate,
        key=key,
        client_ca=table.path("client_ca"),
        client_certificates=table.choice("client_certificates", ClientCertificates.NO),
        revoked=table.path("revoked"),
        minimum=table.text("tls_minimum", "1.2"),
        ciphers=table.text("ciphers"),
    )


def _access(table: TomlTable) -> AccessSettings:
    named = table.has("certificate_name")
    name = table.choice("certificate_name", NameField.COMMON_NAME)
    tokens = _tokens(table.table("tokens")) if table.has("tokens") else None
    access = AccessSettings(
        anonymous=table.choice("anonymous", Anonymous.NO),
        password_file=table.path("password_file"),
        tokens=tokens,
        certificate_name=name if named else None,
        acl_file=table.path("acl_file"),
        allow_everything=table.flag("allow_everything"),
    )
    table.know("tokens")
    table.end()
    return access


def _tokens(table: TomlTable) -> TokenSourceSettings:
    keys = table.path("keys")
    if keys is None:
        table.refuse("keys", "is required")
    tokens = TokenSourceSettings(
        keys=keys or Path(),
        issuer=table.text("issuer"),
        audience=table.text("audience"),
        groups_claim=table.text("groups_claim", "groups"),
    )
    table.end()
    return tokens


def _limits(table: TomlTable) -> Limits:
    standard = Limits()
    values = {
        each.name: table.number(each.name, getattr(standard, each.name), above=0)
        for each in dataclasses.fields(Limits)
    }
    table.end()
    return Limits(**values)  # type: ignore[arg-type]  # number() keeps the default's type


def _word(table: TomlTable, key: str, allowed: tuple[_Word, ...], default: _Word) -> _Word:
    word = table.text(key, default)
    for each in allowed:
        if word == each:
            return each
    table.refuse(key, f"{word!r} must be one of {', '.join(allowed)}")
    return default
