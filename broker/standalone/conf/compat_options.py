"""Lists the options of mosquitto.conf, those that are not offered with the reason."""

import re
from pathlib import Path

from broker.standalone.conf.lines import ConfLine

LISTENER_OPTIONS = frozenset({
    "socket_domain", "max_connections", "cafile", "capath", "certfile", "keyfile", "crlfile",
    "ciphers", "tls_version", "require_certificate", "use_identity_as_username",
    "protocol", "websockets_origin",
})  # fmt: skip
TLS_OPTIONS = LISTENER_OPTIONS - {
    "socket_domain", "max_connections", "protocol", "websockets_origin",
}  # fmt: skip
ACCESS_OPTIONS = frozenset({"allow_anonymous", "password_file", "acl_file"})
GLOBAL_OPTIONS = frozenset({
    "persistence", "persistence_location", "max_packet_size", "message_size_limit",
    "max_inflight_messages", "max_queued_messages", "max_queued_bytes", "max_keepalive",
    "persistent_client_expiration", "log_type", "sys_interval", "global_max_connections",
})  # fmt: skip

# options that change nothing a client could notice
IGNORED = {
    "allow_duplicate_messages": "each subscriber gets a message once",
    "autosave_interval": "stored data is written as it comes",
    "autosave_on_changes": "stored data is written as it comes",
    "connection_messages": "log_type decides",
    "log_dest": "logs go to standard error",
    "log_facility": "logs go to standard error",
    "log_timestamp": "logs always have the time",
    "log_timestamp_format": "logs always have the time",
    "persistence_file": "stored data has its own file names",
    "pid_file": "the broker stays in the foreground",
    "set_tcp_nodelay": "it is always set",
    "user": "the broker stays the user that started it",
    "websockets_headers_size": "",
    "websockets_log_level": "",
}
# options that are accepted with this value only, which is what the broker does
ONLY = {
    "allow_zero_length_clientid": "true",
    "check_retain_source": "true",
    "max_inflight_bytes": "0",
    "memory_limit": "0",
    "queue_qos0_messages": "false",
    "retain_available": "true",
    "upgrade_outgoing_qos": "false",
    "use_subject_as_username": "false",
    "use_username_as_clientid": "false",
}
NOT_OFFERED = {
    "auth_plugin": "plugins cannot be loaded",
    "auto_id_prefix": "assigned client ids begin with auto-",
    "bind_interface": "give the interface's address to listener",
    "clientid_prefixes": "use an access list",
    "connection": "bridges are not offered",
    "enable_proxy_protocol": "say in a TOML file, by proxies, whose headers are believed",
    "dhparamfile": "key exchange is by elliptic curves",
    "global_plugin": "plugins cannot be loaded",
    "http_dir": "files are not served",
    "max_qos": "it cannot be set",
    "max_topic_alias": "say it in a TOML file: topic_aliases in [limits]",
    "max_topic_alias_broker": "say it in a TOML file: topic_aliases in [limits]",
    "mount_point": "topics are not rewritten",
    "plugin": "plugins cannot be loaded",
    "psk_file": "TLS is with certificates",
    "psk_hint": "TLS is with certificates",
    "tls_engine": "keys come from files",
}
LOG_LEVELS = {
    "all": "DEBUG", "debug": "DEBUG", "internal": "DEBUG", "subscribe": "INFO",
    "unsubscribe": "INFO", "websockets": "INFO", "information": "INFO", "notice": "INFO",
    "warning": "WARNING", "error": "ERROR", "none": "CRITICAL",
}  # fmt: skip
UNITS_S = {"h": 3600, "d": 86_400, "w": 604_800, "m": 2_592_000, "y": 31_536_000}
MAX_PACKET_BYTES = 268_435_455  # [MQTT-1.5.5] what a Remaining Length can say


class CompatOptions:
    """Holds the given options, each once, and adds their faults to one list."""

    def __init__(self, problems: list[str]) -> None:
        self._problems = problems
        self._lines: dict[str, ConfLine] = {}

    def add(self, line: ConfLine) -> None:
        """Keep an option; the last of several counts, as in Mosquitto."""
        self._lines[line.option] = line

    def __contains__(self, option: str) -> bool:
        return option in self._lines

    def names(self) -> frozenset[str]:
        """Return the names of the given options."""
        return frozenset(self._lines)

    def where(self, option: str) -> str:
        """Return the place of an option that was given."""
        return self._lines[option].where

    def text(self, option: str, default: str = "") -> str:
        """Return the text of an option."""
        line = self._lines.get(option)
        if line is None:
            return default
        if not line.value:
            self.refuse(option, "has no value")
        return line.value

    def flag(self, option: str, *, default: bool = False) -> bool:
        """Return true or false."""
        word = self.text(option, str(default).lower()).lower()
        if word not in ("true", "false", "1", "0"):
            self.refuse(option, f"{word!r} is not true or false")
        return word in ("true", "1")

    def path(self, option: str) -> Path | None:
        """Return a path; it starts where the broker was started."""
        text = self.text(option)
        return Path(text) if text else None

    def number(self, option: str, *, low: int, high: int) -> int | None:
        """Return a whole number, None when there is none."""
        if option not in self._lines:
            return None
        text = self.text(option)
        # int() takes "1_0" and digits of every script
        if not re.fullmatch(r"-?[0-9]{1,12}", text) or not low <= int(text) <= high:
            self.refuse(option, f"{text!r} is not a number from {low} to {high}")
            return None
        return int(text)

    def duration_s(self, option: str) -> int | None:
        """Return seconds of a text such as 14d; None when there is none."""
        text = self.text(option)
        if not text:
            return None
        count, unit = text[:-1], text[-1:]
        if not count.isascii() or not count.isdigit() or unit not in UNITS_S:
            self.refuse(option, f"{text!r} must be like 14d; units are {', '.join(UNITS_S)}")
            return None
        return int(count[:9]) * UNITS_S[unit]

    def refuse(self, option: str, why: str) -> None:
        """Note a problem."""
        place = f"{self.where(option)}: " if option in self._lines else ""
        self._problems.append(f"{place}{option}: {why}")
