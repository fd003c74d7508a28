"""The parts that request handlers use, as app.py built them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from broker import Broker
from cloud.config import CloudConfig
from cloud.discovery.registry import NodeRegistry
from cloud.health import Health
from cloud.identity.signin import SignIn
from cloud.keyring import Keyring
from cloud.metrics import Metrics
from cloud.signalling.bounded_wait import BoundedWait
from cloud.signalling.placing import Placing
from cloud.signalling.sep import Sep
from cloud.storage.sqlite import CloudStore
from cloud.tokens.device_grants import DeviceGrants
from cloud.tokens.issuer import Issuer
from protocol.mqtt_limits import MqttLimits


@dataclass(frozen=True, slots=True)
class CloudParts:
    """The parts of one cloud process."""

    config: CloudConfig
    keyring: Keyring
    store: CloudStore
    issuer: Issuer
    broker: Broker
    registry: NodeRegistry
    sign_in: SignIn
    device_grants: DeviceGrants
    sep: Sep
    bounded_wait: BoundedWait
    placing: Placing
    metrics: Metrics
    health: Health
    mqtt_limits: MqttLimits
    clock: Callable[[], float] = time.time


async def parts_of(request: Request) -> CloudParts:
    """Return the parts of the process that serves a request."""
    parts: CloudParts = request.app.state.parts
    return parts


PartsOf = Annotated[CloudParts, Depends(parts_of)]
