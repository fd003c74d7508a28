"""Gives a JavaScript container the rights that its deployer wrote into its environment. Pure.

Images of compatible runtimes bring no microservice.toml. Their deployer states in their environment
what they read, write and offer. An image with a microservice.toml keeps its own rights.
"""

import json
from collections.abc import Mapping
from dataclasses import replace

from gateway.services.errors import ServicesError
from gateway.services.images.manifest import PUBLIC, Manifest, ManifestMqtt
from gateway.services.network.rules import grant_network
from microservice.control import JAVASCRIPT
from microservice.errors import ServiceError
from microservice.javascript.environment import TRIGGERS, read_publish, read_triggers

EXPOSE_KEY, BEP_KEY = "MCM.EXPOSE", "MCM.BEP_SUPPORT"


def grant_by_environment(manifest: Manifest, runtime: str, env: Mapping[str, str]) -> Manifest:
    """Return the manifest of a container.

    Raises:
        ServicesError: the environment names what cannot be granted.
    """
    if runtime != JAVASCRIPT:
        return manifest
    http = manifest.http
    if http.expose != PUBLIC and env.get(EXPOSE_KEY, "").strip().lower() == PUBLIC:
        http = replace(http, expose=PUBLIC)
    if env.get(BEP_KEY, "").strip().lower() == "true":
        http = replace(http, bep=True)
    mqtt = manifest.mqtt
    if not mqtt.subscribe and not mqtt.publish:
        try:
            triggers = tuple(one.topic_filter for one in read_triggers(env))
            mqtt = ManifestMqtt(subscribe=triggers, publish=read_publish(env))
            mqtt.check()
        except (ServiceError, ValueError) as exc:
            raise ServicesError(f"cannot grant what the environment asks for: {exc}") from exc
    try:
        network = grant_network(manifest.network, env)
    except ValueError as exc:
        raise ServicesError(f"cannot grant what the environment asks for: {exc}") from exc
    return replace(manifest, http=http, mqtt=mqtt, network=network)


def launch_environment(manifest: Manifest, runtime: str, env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process; [mqtt] subscribe names the triggers of a script."""
    subscribe = manifest.mqtt.subscribe
    if runtime != JAVASCRIPT or TRIGGERS in env or not subscribe:
        return dict(env)
    return {**env, TRIGGERS: json.dumps(list(subscribe))}
