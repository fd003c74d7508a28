"""Serves HTTP with bounds that hold against silent, slow and greedy peers.

The gateway's sidecar and the cloud's API run on it. It does not depend on nodes or clouds.
"""

from web.errors import CertificateError, JsonError, ListenError
from web.json_body import parse_json
from web.responses import SafeJsonResponse
from web.server.http_server import HttpServer
from web.server.limits import HttpLimits
from web.server.listening import listen_tcp, listen_unix
from web.tls.certificates import ServerCertificate

__all__ = [
    "CertificateError",
    "HttpLimits",
    "HttpServer",
    "JsonError",
    "ListenError",
    "SafeJsonResponse",
    "ServerCertificate",
    "listen_tcp",
    "listen_unix",
    "parse_json",
]
