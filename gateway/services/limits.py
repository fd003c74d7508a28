"""Defines the limits of microservices. The defaults fit a machine with 512 MiB."""

from dataclasses import dataclass, field

from gateway.services.images.limits import MIB, ImageLimits
from gateway.services.images.rules import DEFAULT_RULES, ImageRules


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Limits of one gateway."""

    image: ImageLimits = field(default_factory=ImageLimits)
    rules: ImageRules = DEFAULT_RULES  # for images: signatures, room, sources
    images: int = 64
    old_versions: int = 3  # images of a microservice that no container uses: for a rollback
    containers: int = 32
    env_keys: int = 64
    env_bytes: int = 32 * 1024
    ready_s: float = 20.0  # from start to ready: the slowest board imports for some seconds
    liveness_s: float = 20.0  # below handler_s: a handler that awaits never blocks for so long
    respond_s: float = 2.0  # to a control message, then a deployment treats it as blocked
    stop_s: float = 3.5  # a gateway stops within 5 s
    drain_s: float = 30.0  # for requests and handlers of a replaced version; above handler_s
    probation_s: float = 10.0  # a version that ends earlier is left for the one before
    versions: int = 5  # kept of each container, with the one that runs
    takes_rollouts: bool = True  # from other nodes of the account
    starts: int = 4  # containers that start at once when the gateway starts
    handler_s: float = 30.0
    answer_s: float = 35.0  # head of the answer, after the last byte of the request
    stall_s: float = 60.0  # a caller that takes or sends nothing for so long is cut
    requests: int = 64  # at once, per container
    websockets: int = 64  # at once, per container
    websocket_idle_s: float = 300.0  # without a byte; clients send pings every 20 to 60 s
    followers: int = 16  # of logs, at once
    concurrency: int = 64  # handlers at once, per container: each waits for its publishes
    queue: int = 256  # messages in a container, its receive window
    deadletters: int = 1000  # per container, with their bytes on disk; newer ones replace older
    deadletter_bytes: int = 4 * MIB
    store_bytes: int = 64 * MIB  # in the data folder of a container
    free_bytes: int = 8 * MIB  # on the disk, or nothing is deployed
    log_bytes: int = MIB  # twice: the current and the one before
    log_bytes_per_s: int = MIB  # a container that writes more waits
