import asyncio

import httpx
import pytest

from broker import AllowAll, Broker, Listener
from broker.standalone.conf.settings import MetricsEndpointSettings
from broker.standalone.http_endpoints import serving


# case G6
@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 200), ({"host": "localhost"}, 200), ({"host": "evil.example"}, 421),
     ({"origin": "http://evil.example"}, 403)],
)  # fmt: skip
def test_pages_of_other_sites_do_not_read_the_metrics(headers: dict[str, str], status: int) -> None:
    async def scenario() -> None:
        broker = Broker([Listener(port=0)], AllowAll(), AllowAll())
        async with (
            serving(broker, MetricsEndpointSettings("127.0.0.1", 0)) as (host, port),
            httpx.AsyncClient(trust_env=False) as client,
        ):
            answer = await client.get(f"http://{host}:{port}/metrics", headers=headers)
        assert answer.status_code == status

    asyncio.run(scenario())
