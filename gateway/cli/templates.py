"""Holds the files that `hecate new` writes, by language. Pure."""

from collections.abc import Mapping

MANIFEST = """name = "{name}"            # of the image and the container: a-z 0-9 -
version = "1"

[http]
base = "/{name}/v1"        # the path of its HTTP, behind the client id: /api/{name}/v1
expose = "node"           # permitted callers: "node" (this machine) or "public" (network and cloud)

[mqtt]                    # other topics are denied
subscribe = ["devices/+/readings/#"]
publish = ["{name}/#"]
"""
_PYTHON = '''"""The microservice {name}: passes readings on, and answers HTTP."""

from microservice import Message, Request, Service

service = Service()
seen: dict[str, int] = {{}}  # readings of each device, as long as this process lives


@service.on("devices/{{device}}/readings/#")
async def reading(message: Message) -> None:
    """Count a device's readings, and say how many there were."""
    device = message["device"]
    seen[device] = seen.get(device, 0) + 1
    await service.publish(f"{name}/{{device}}/count", {{"count": seen[device]}})


@service.get("/")
async def root(_: Request) -> dict[str, object]:
    """Answer what was counted."""
    return {{"service": "{name}", "seen": seen}}
'''
_PYTHON_TEST = '''"""Tests of {name}; `pytest` runs them without a gateway."""

import asyncio

from service import service


def test_readings_are_counted():
    async def main():
        async with service.test() as t:
            await t.publish("devices/kitchen/readings/temperature", 21)
            assert t.published == [("{name}/kitchen/count", {{"count": 1}})]
            answer = await t.get("/")
            assert answer.json()["seen"] == {{"kitchen": 1}}

    asyncio.run(main())
'''
_JAVASCRIPT = """// The microservice {name}: passes readings on, and answers HTTP.
// Every request has a fresh context; context.storage keeps what must last.

mimikModule.exports = async (context, request, response) => {{
  if (request.url === '/mqtt') {{ // a message on a topic of [mqtt] subscribe
    const {{ topic }} = JSON.parse(request.body);
    const device = topic.split('/')[1];
    const count = Number(context.storage.getItem(device) || 0) + 1;
    context.storage.setItem(device, String(count));
    await context.mqtt.publish(`{name}/${{device}}/count`, JSON.stringify({{ count }}));
    response.end();
    return;
  }}
  const seen = {{}};
  context.storage.eachItem((device, count) => {{ seen[device] = Number(count); }});
  response.end(JSON.stringify({{ service: '{name}', seen }}));
}};
"""
_JAVASCRIPT_TEST = '''"""Tests of {name}; `pytest` runs them without a gateway."""

import asyncio
from pathlib import Path

from microservice import ScriptTest


def test_readings_are_counted():
    async def main():
        async with ScriptTest(Path(__file__).parent) as t:
            await t.publish("devices/kitchen/readings/temperature", 21)
            assert t.published == [("{name}/kitchen/count", {{"count": 1}})]
            answer = await t.get("/")
            assert answer.json()["seen"] == {{"kitchen": 1}}

    asyncio.run(main())
'''
_README = """# {name}

```sh
hecate dev {folder}        # runs it on this machine's gateway, again after every save
pytest {folder}            # tests it, without a gateway
hecate deploy {folder}     # runs it for good; `hecate logs -f {name}` shows its output
hecate invoke {name}     # calls it
```

`microservice.toml` has its name, its HTTP path and its topics; {code} is its code.
"""
_IGNORED = """__pycache__/
.pytest_cache/
*.tar
"""


def manifest_text(name: str) -> str:
    """Return a microservice.toml with comments."""
    return MANIFEST.format(name=name)


def minimal_text(name: str) -> str:
    """Return the shortest microservice.toml of a service that answers HTTP."""
    return f'name = "{name}"\n\n[http]\nbase = "/{name}/v1"\n'


def python_files(name: str, folder: str) -> Mapping[str, str]:
    """Return the files of a microservice in Python, by name."""
    return {
        "microservice.toml": manifest_text(name),
        "service.py": _PYTHON.format(name=name),
        "test_service.py": _PYTHON_TEST.format(name=name),
        "README.md": _README.format(name=name, folder=folder, code="`service.py`"),
        ".gitignore": _IGNORED,
    }


def javascript_files(name: str, folder: str) -> Mapping[str, str]:
    """Return the files of a microservice in JavaScript, by name."""
    return {
        "microservice.toml": manifest_text(name),
        "index.js": _JAVASCRIPT.format(name=name),
        "test_index.py": _JAVASCRIPT_TEST.format(name=name),
        "README.md": _README.format(name=name, folder=folder, code="`index.js`"),
        ".gitignore": "node_modules/\n" + _IGNORED,
    }
