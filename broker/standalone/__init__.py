"""The configuration of a broker that runs alone: our TOML, or the common part of mosquitto.conf.

settings = load_broker_settings(Path("broker.toml"), os.environ)       what a file says
realms = Realms(settings)
realms.take(realms.read())                          users and rights; again after a change
broker = Broker(open_listeners(settings), realms, realms, settings.limits)
"""

from broker.standalone.errors import ConfError
from broker.standalone.listeners import open_listeners
from broker.standalone.load import load_broker_settings
from broker.standalone.realms import Realms
from broker.standalone.settings import (
    AccessSettings,
    Anonymous,
    BrokerSettings,
    ListenerSettings,
    MetricsEndpointSettings,
    TlsSettings,
    TokenSourceSettings,
)

__all__ = [
    "AccessSettings",
    "Anonymous",
    "BrokerSettings",
    "ConfError",
    "ListenerSettings",
    "MetricsEndpointSettings",
    "Realms",
    "TlsSettings",
    "TokenSourceSettings",
    "load_broker_settings",
    "open_listeners",
]
