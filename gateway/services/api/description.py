"""Describes a container as the API shows it."""

from collections.abc import Callable
from typing import Any

from gateway.services.api.messages import ContainerMessages
from gateway.services.configuration.values import ContainerValues
from gateway.services.deployments import BASE_KEY, Deployed
from gateway.services.images.catalogue import StoredContainer

_FOREIGN_DEFAULTS = {"MCM.WEBSOCKET_SUPPORT": "false", "MCM.DB_ENCRYPTION_SUPPORT": "false"}

Describe = Callable[[Deployed], dict[str, Any]]


def describe_container(
    deployed: Deployed, messages: ContainerMessages, given: ContainerValues
) -> dict[str, Any]:
    """Return the container object of the API."""
    stored, supervisor = deployed.stored, deployed.supervisor
    counts, last_end, history = supervisor.counts, supervisor.last_end, deployed.history
    running, waiting = history.running, history.waiting
    specs = supervisor.version.manifest.settings
    return {
        "id": stored.container_id,
        "clientId": stored.client_id,
        "name": stored.name,
        "image": stored.image_id.removeprefix(f"{stored.client_id}-"),
        "imageId": stored.image_id,
        "created": int(stored.created * 1000),
        "env": _echoed_env(stored, supervisor.version.base),
        "state": supervisor.state.value,
        "error": supervisor.error,
        "version": running.number if running else 0,
        "waiting": waiting.number if waiting else 0,
        "note": history.note,
        "startedAt": int(supervisor.started_at * 1000),
        "restarts": supervisor.restarts,
        "nextTry": int(supervisor.next_try * 1000),
        "lastEnd": {"reason": last_end.reason, "at": int(last_end.at * 1000)},
        "settings": {n: given.settings.get(n, spec.default) for n, spec in specs.items()},
        "secrets": sorted(given.secrets),  # their names
        "handled": counts.handled,
        "failed": counts.failed,
        "dropped": counts.dropped + messages.dropped,
        "retried": counts.retried,
        "overdue": counts.overdue,
        "messages": {
            "waiting": messages.waiting,
            "inFlight": messages.in_flight,
            "held": messages.held,
            "flow": messages.flow,
        },
        "deadLetters": {"kept": messages.dead_letters, "dropped": messages.dead_letters_dropped},
    }


def _echoed_env(stored: StoredContainer, base: str) -> dict[str, str]:
    """Return the environment as known clients expect it back: the base with the client id."""
    is_foreign = stored.runtime != "python"
    defaults = _FOREIGN_DEFAULTS if is_foreign else {}
    engine = {"MCM.RUNTIME": stored.runtime} if is_foreign else {}  # whatever was given
    return defaults | dict(stored.env) | engine | {BASE_KEY: base}
