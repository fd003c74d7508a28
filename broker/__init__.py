"""An MQTT 3.1.1 and 5 broker to embed; knows nothing of nodes or clouds.

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

from broker.counters import Counters
from broker.errors import BrokerError, LocalProtocolError, ProtocolError, RemoteProtocolError
from broker.hooks import NO_ROOM, Arrival, Hooks, NoRoom
from broker.limits import Limits
from broker.local import LocalClient
from broker.message import Hold, Message
from broker.policy import (
    Accepted,
    AllowAll,
    Authenticator,
    Authorizer,
    Challenge,
    Credentials,
    DenyAll,
    EnhancedAuthenticator,
    Exchange,
    Identity,
    Refusal,
)
from broker.properties import Properties
from broker.reasons import Reason
from broker.server import Broker, Listener

__all__ = [
    "NO_ROOM",
    "Accepted",
    "AllowAll",
    "Arrival",
    "Authenticator",
    "Authorizer",
    "Broker",
    "BrokerError",
    "Challenge",
    "Counters",
    "Credentials",
    "DenyAll",
    "EnhancedAuthenticator",
    "Exchange",
    "Hold",
    "Hooks",
    "Identity",
    "Limits",
    "Listener",
    "LocalClient",
    "LocalProtocolError",
    "Message",
    "NoRoom",
    "Properties",
    "ProtocolError",
    "Reason",
    "Refusal",
    "RemoteProtocolError",
]
