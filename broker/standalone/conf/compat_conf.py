"""Reads the common part of a mosquitto.conf; refuses or reports other options with their lines."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from broker.quota.limits import Limits
from broker.standalone.conf.compat_listener import (
    LOOPBACK,
    MAX_CONNECTIONS,
    WEBSOCKETS,
    ListenerDraft,
    build_access,
    build_listener,
    parse_place,
)
from broker.standalone.conf.compat_options import (
    ACCESS_OPTIONS,
    GLOBAL_OPTIONS,
    IGNORED,
    LISTENER_OPTIONS,
    LOG_LEVELS,
    MAX_PACKET_BYTES,
    NOT_OFFERED,
    ONLY,
    CompatOptions,
)
from broker.standalone.conf.lines import ConfLine
from broker.standalone.conf.settings import (
    LEVELS,
    AccessSettings,
    Anonymous,
    BrokerSettings,
    ListenerSettings,
)
from broker.sys_topics import SYS_INTERVAL_S

DEFAULT_PORT = 1883
TOPIC_BYTES = 65_535 + 2 + 2 + 5  # topic, packet id and header that come on top of a payload

# limits of ours by option; 0 is no limit there, and ours here
COUNTS = {
    "max_inflight_messages": ("in_flight", 65_535),
    "max_queued_messages": ("queued_messages", 10_000_000),
    "max_queued_bytes": ("queued_bytes", 1 << 40),
    "max_packet_size": ("packet_bytes", MAX_PACKET_BYTES),
    "global_max_connections": ("connections", MAX_CONNECTIONS),
}


def parse_mosquitto(lines: Sequence[ConfLine]) -> tuple[BrokerSettings, list[str]]:
    """Return the settings and all faults."""
    reader = _Reader()
    for line in lines:
        reader.take(line)
    settings = reader.build()
    return settings, reader.problems or settings.find_faults()


class _Reader:
    """Sorts the lines: options of the broker, and options of the last listener above them."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._notices: list[str] = []
        self._options = CompatOptions(self.problems)
        self._common = CompatOptions(self.problems)
        self._default = ListenerDraft(CompatOptions(self.problems), is_given=False)
        self._drafts = [self._default]
        self._is_per_listener = False
        self._levels: list[str] = []

    def take(self, line: ConfLine) -> None:
        """Note one line."""
        option, current = line.option, self._drafts[-1]
        if option in IGNORED:
            why = IGNORED[option]
            self._notices.append(f"{line.where}: {option} is ignored{why and ': '}{why}")
        elif option in ONLY:
            if line.value.lower() != ONLY[option]:
                self._refuse(line, f"only {ONLY[option]} is offered")
        elif option in LISTENER_OPTIONS:
            current.options.add(line)
            self._take_websocket(line, current)
        elif option in ACCESS_OPTIONS:
            (current.options if self._is_per_listener else self._common).add(line)
        elif option in GLOBAL_OPTIONS:
            self._options.add(line)
            if option == "log_type":
                self._take_log_type(line)
        elif option in ("listener", "port", "bind_address", "per_listener_settings"):
            self._take_place(line)
        else:
            self._refuse(line, NOT_OFFERED.get(option, "is not known"))

    def build(self) -> BrokerSettings:
        """Return the settings of all lines."""
        drafts = [draft for draft in self._drafts if draft.is_given]
        if not drafts:
            # as Mosquitto: without a listener, everyone on this machine and nobody else
            self._default.host, self._default.port = LOOPBACK, DEFAULT_PORT
            drafts = [self._default]
        elif not self._default.is_given:
            for option in sorted(self._default.options.names()):
                self._default.options.refuse(option, "stands above the listener it is meant for")
        common = self._build_access(drafts)
        listeners = tuple(build_listener(draft) for draft in drafts)
        persists = self._options.flag("persistence")
        location = self._options.path("persistence_location")
        sys_interval_s = self._options.number("sys_interval", low=0, high=65_535)
        return BrokerSettings(
            listeners=listeners,
            access=common,
            limits=self._build_limits(listeners),
            data=(location or Path()) if persists else None,
            log_level=min(self._levels, key=LEVELS.index, default="INFO"),
            sys_interval_s=SYS_INTERVAL_S if sys_interval_s is None else float(sys_interval_s),
            notices=tuple(self._notices),
        )

    def _build_access(self, drafts: list[ListenerDraft]) -> AccessSettings:
        """Return the users and rights of all listeners, or give each its own."""
        is_local = drafts == [self._default] and not self._default.is_given
        for draft in drafts:
            options = draft.options if self._is_per_listener else self._common
            access = build_access(options, draft.options)
            if is_local and "allow_anonymous" not in options:
                access = replace(access, anonymous=Anonymous.LOOPBACK)
            draft.access = access
        if any(draft.access and draft.access.allow_everything for draft in drafts):
            self._notices.append("without acl_file everyone may read and write everything")
        first = drafts[0].access or AccessSettings()
        if all(draft.access == first for draft in drafts):
            for draft in drafts:
                draft.access = None
        return first

    def _build_limits(self, listeners: Sequence[ListenerSettings]) -> Limits:
        values: dict[str, int] = {}
        for option, (name, high) in COUNTS.items():
            count = self._options.number(option, low=0, high=high)
            if count:
                values[name] = count
            elif count == 0:
                self._note_bound(option, name)
        payload = self._options.number("message_size_limit", low=0, high=MAX_PACKET_BYTES)
        if payload:
            packet = min(payload + TOPIC_BYTES, values.get("packet_bytes", MAX_PACKET_BYTES))
            values["packet_bytes"] = packet
            self._notices.append(
                f"{self._options.where('message_size_limit')}: message_size_limit is kept for "
                f"whole packets, of {packet} bytes"
            )
        expiry_s = self._options.duration_s("persistent_client_expiration")
        if expiry_s:
            values["session_expiry_s"] = expiry_s
        keep_alive_s = self._options.number("max_keepalive", low=0, high=65_535)
        if keep_alive_s:
            values["keep_alive_s"] = keep_alive_s
        counts = [each.connections for each in listeners]
        if "connections" not in values and None not in counts:
            values["connections"] = sum(count or 0 for count in counts)  # as much as they ask for
        return Limits(**values)

    def _take_place(self, line: ConfLine) -> None:
        default = self._default
        try:
            if line.option == "listener":
                host, port, path = parse_place(line.value or "missing")
                self._drafts.append(ListenerDraft(CompatOptions(self.problems), host, port, path))
            elif line.option == "port":
                default.port, default.is_given = parse_place(line.value or "missing")[1], True
            elif line.option == "bind_address":
                default.host, default.is_given = line.value, True
                default.port = default.port or DEFAULT_PORT
            else:
                self._set_per_listener(line)
        except ValueError as exc:
            self._refuse(line, str(exc))

    def _set_per_listener(self, line: ConfLine) -> None:
        if line.value not in ("true", "false"):
            raise ValueError(f"{line.value!r} is not true or false")
        if self._common.names() or len(self._drafts) > 1:
            raise ValueError("must stand above all listeners, users and rights")
        self._is_per_listener = line.value == "true"

    def _take_websocket(self, line: ConfLine, draft: ListenerDraft) -> None:
        if line.option == "websockets_origin":
            draft.origins.append(line.value)
        elif line.option == "protocol" and line.value == WEBSOCKETS:
            self._notices.append(
                f"{line.where}: websockets are at the path /mqtt, for pages of the same host and "
                "those named by websockets_origin"
            )

    def _take_log_type(self, line: ConfLine) -> None:
        if line.value in LOG_LEVELS:
            self._levels.append(LOG_LEVELS[line.value])
        else:
            self._refuse(line, f"{line.value!r} must be one of {', '.join(LOG_LEVELS)}")

    def _note_bound(self, option: str, name: str) -> None:
        standard = getattr(Limits(), name)
        where = self._options.where(option)
        self._notices.append(f"{where}: {option} 0 means no limit; kept is our own, {standard}")

    def _refuse(self, line: ConfLine, why: str) -> None:
        self.problems.append(f"{line.where}: {line.option}: {why}")
