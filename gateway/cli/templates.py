"""Holds the files that `hecate new` writes, by language. Pure."""

from collections.abc import Mapping

MANIFEST = """name = "{name}"            # of the image and the container: a-z 0-9 -
version = "1"

[http]
base = "/{name}/v1"        # where it answers, behind the client id: /api/{name}/v1
expose = "node"           # who may call: "node" (this machine) or "public" (network and cloud)

[mqtt]                    # what is not here is denied
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

import service


class Broker:
    """Remembers what the service publishes."""

    def __init__(self):
        self.published = []

    async def publish(self, topic, payload, qos, retain):
        self.published.append((topic, payload))


def test_a_reading_is_counted():
    from microservice import Info, Message

    broker = Broker()
    service.service.attach(broker, {{}}, Info())
    message = Message("devices/kitchen/readings/t", b"21", levels={{"device": "kitchen"}})
    asyncio.run(service.reading(message))
    assert broker.published == [("{name}/kitchen/count", b'{{"count": 1}}')]
'''
_JAVASCRIPT = """// The microservice {name}: answers HTTP, and counts its calls.
// Every request runs in a fresh context; context.storage keeps what must last.

mimikModule.exports = (context, request, response) => {{
  const path = request.url.split('?')[0];
  if (request.method === 'GET' && path === '/') {{
    const calls = Number(context.storage.getItem('calls') || 0) + 1;
    context.storage.setItem('calls', String(calls));
    response.end(JSON.stringify({{ service: '{name}', calls }}));
    return;
  }}
  response.statusCode = 404;
  response.end(JSON.stringify({{ code: 404, message: `no ${{request.method}} ${{path}} here` }}));
}};
"""
_README = """# {name}

```sh
hecate dev {folder}        # runs it on this machine's gateway, again after every save
{test}hecate deploy {folder}     # runs it for good; `hecate logs -f {name}` shows its output
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
    test = f"pytest {folder}            # tests it, without a gateway\n"
    return {
        "microservice.toml": manifest_text(name),
        "service.py": _PYTHON.format(name=name),
        "test_service.py": _PYTHON_TEST.format(name=name),
        "README.md": _README.format(name=name, folder=folder, code="`service.py`", test=test),
        ".gitignore": _IGNORED,
    }


def javascript_files(name: str, folder: str) -> Mapping[str, str]:
    """Return the files of a microservice in JavaScript, by name."""
    return {
        "microservice.toml": minimal_text(name),
        "index.js": _JAVASCRIPT.format(name=name),
        "README.md": _README.format(name=name, folder=folder, code="`index.js`", test=""),
        ".gitignore": "node_modules/\n*.tar\n",
    }
