"""What request handlers reach: the parts that app.py has built."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from broker import Broker
from cloud.config import CloudConfig
from cloud.discovery.registry import Registry
from cloud.health import Health
from cloud.identity.signin import SignIn
from cloud.keyring import Keyring
from cloud.metrics import Metrics
from cloud.signalling.patience import Patience
from cloud.signalling.placing import Placing
from cloud.signalling.sep import Sep
from cloud.store import Store
from cloud.tokens.device_grants import DeviceGrants
from cloud.tokens.issuer import Issuer
from protocol.mqtt_limits import MqttLimits


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one cloud process."""

    config: CloudConfig
    keyring: Keyring
    store: Store
    issuer: Issuer
    broker: Broker
    registry: Registry
    sign_in: SignIn
    device_grants: DeviceGrants
    sep: Sep
    patience: Patience
    placing: Placing
    metrics: Metrics
    health: Health
    mqtt_limits: MqttLimits
    clock: Callable[[], float] = time.time


async def parts_of(request: Request) -> Parts:
    """Return the parts of the process that serves a request."""
    parts: Parts = request.app.state.parts
    return parts


PartsOf = Annotated[Parts, Depends(parts_of)]
