"""Lists commands to try; each works when it is pasted into a shell. Pure."""

import shlex
from dataclasses import dataclass
from pathlib import Path

EXAMPLE_ROUTE = "/rooms"  # of examples/climate


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The addresses and paths that the suggested commands name."""

    hecate: str  # the command that calls this program
    api: str
    cloud: str
    mqtt: tuple[str, int]
    cloud_mqtt: tuple[str, int]
    node_id: str
    account_id: str
    service_path: str  # "" without the example
    device_id: str  # "" without devices
    cloud_token: str  # the file, as a shell word
    target_options: str  # for `hecate` commands: "" when the defaults find this gateway
    has_mosquitto: bool  # its clients, on this machine


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Commands under one heading; the later ones may need the earlier ones."""

    heading: str
    commands: tuple[str, ...]


def shell_word(path: Path, home: Path) -> str:
    """Return a path as people type it: below ~ where it is, quoted where it must be."""
    text = str(path)
    if path.is_relative_to(home) and shlex.quote(text) == text:
        return f"~/{path.relative_to(home)}"
    return shlex.quote(text)


def list_tries(where: Endpoints) -> list[Suggestion]:
    """Return what a newcomer can do with a system that is ready."""
    tries: list[Suggestion] = []
    if where.service_path:
        tries += [_microservice(where), _tunnel(where)]
    tries.append(_messages(where))
    if where.device_id:
        tries.append(_command(where))
    own = (f"{where.hecate} devices{_options(where)}", f"curl -s {where.api}/openapi.json")
    tries.append(Suggestion("The devices that have joined, and all that the API can do", own))
    return tries


def _microservice(where: Endpoints) -> Suggestion:
    path = where.service_path + EXAMPLE_ROUTE
    return Suggestion(
        "The microservice: here, and from anywhere through the cloud (SEP)",
        (f"curl {where.api}{path}", f"curl {where.cloud}/sep/{where.node_id}{path}"),
    )


def _tunnel(where: Endpoints) -> Suggestion:
    bep = f"{where.cloud}/sep/{where.node_id}{where.service_path}/bep?hmac=$CODE"
    return Suggestion(
        "The same through a tunnel of its own (BEP): get a code, open, call",
        (
            f"CODE=$({where.hecate} code{_options(where)})",
            f"""BEP=$(curl -s "{bep}" | grep -o 'http[^"]*')""",
            f'curl "$BEP{where.service_path}{EXAMPLE_ROUTE}"',
        ),
    )


def _messages(where: Endpoints) -> Suggestion:
    host, port = where.mqtt
    cloud_host, cloud_port = where.cloud_mqtt
    needs = "" if where.has_mosquitto else "; needs mosquitto-clients"
    return Suggestion(
        "What devices send: on the gateway, and as it reaches the cloud (-C 4: the next four)"
        + needs,
        (
            f"mosquitto_sub -h {host} -p {port} -t 'devices/#' -v -C 4",
            f"mosquitto_sub -h {cloud_host} -p {cloud_port} -u {where.account_id} "
            f"-P \"$(cat {where.cloud_token})\" -t 'nodes/{where.node_id}/devices/#' "
            "-v -C 4",
        ),
    )


def _command(where: Endpoints) -> Suggestion:
    host, port = where.mqtt
    topic = f"devices/{where.device_id}/commands/light"
    return Suggestion(
        "A command to a device; it answers on devices/…/replies/light",
        (f'mosquitto_pub -h {host} -p {port} -q 1 -t {topic} -m \'{{"id":"1","on":true}}\'',),
    )


def _options(where: Endpoints) -> str:
    return f" {where.target_options}" if where.target_options else ""
