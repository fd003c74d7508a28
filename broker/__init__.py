"""Provides an MQTT 3.1.1 and 5 broker to embed; knows nothing of nodes or clouds.

import asyncio
from broker import AllowAll, Broker, Listener

async def main() -> None:
    policy = AllowAll()  # for trying out; write your own Authenticator and Authorizer
    async with Broker([Listener(port=1883)], policy, policy) as broker:
        print("listening on", *broker.addresses)
        broker.local_client("me").subscribe("#", lambda message: print(message.topic))
        await asyncio.Event().wait()

asyncio.run(main())
"""

from broker.administration import QueueStatus
from broker.local_client import LocalClient
from broker.messages.message import NO_ROOM, Hold, Message, NoRoom
from broker.policy import (
    Accepted,
    AllowAll,
    Authenticator,
    AuthExchange,
    Authorizer,
    Challenge,
    Credentials,
    DenyAll,
    EnhancedAuthenticator,
    Identity,
    Overflow,
    OverflowRule,
    Refusal,
)
from broker.quota.counters import BrokerCounters
from broker.quota.limits import Limits
from broker.routing.hooks import ConnectingClient, Hooks
from broker.server import Broker, Listener
from broker.wire.errors import BrokerError, LocalProtocolError, ProtocolError, RemoteProtocolError
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason

__all__ = [
    "NO_ROOM",
    "Accepted",
    "AllowAll",
    "AuthExchange",
    "Authenticator",
    "Authorizer",
    "Broker",
    "BrokerCounters",
    "BrokerError",
    "Challenge",
    "ConnectingClient",
    "Credentials",
    "DenyAll",
    "EnhancedAuthenticator",
    "Hold",
    "Hooks",
    "Identity",
    "Limits",
    "Listener",
    "LocalClient",
    "LocalProtocolError",
    "Message",
    "NoRoom",
    "Overflow",
    "OverflowRule",
    "Properties",
    "ProtocolError",
    "QueueStatus",
    "Reason",
    "Refusal",
    "RemoteProtocolError",
]
