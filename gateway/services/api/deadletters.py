"""Serves /mcm/v1/containers/{id}/deadletters: the list of dead letters, retry, deletion."""

import base64
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.http.parameters import PathText
from gateway.http.routes import ANY, ApiRoute, Operation
from gateway.services.api.calls import PREFIX, TAG, ClientCheck, errors_as_problems, mcm_route
from gateway.services.deadletters import DeadLetter, DeadLetterKeeper
from gateway.services.deployments import Deployments

_CONTAINER_ID = PathText("container_id")
_NUMBER = PathText("letter_id", "[0-9]{1,15}")
_LIST = Operation(TAG, "Get Dead Letters", parameters=(_CONTAINER_ID,), answer=ANY)
_RETRY = Operation(TAG, "Retry Dead Letter", parameters=(_CONTAINER_ID, _NUMBER), answer=ANY)
_DISCARD = Operation(TAG, "Delete Dead Letter", parameters=(_CONTAINER_ID, _NUMBER), status=204)
_DISCARD_ALL = Operation(TAG, "Delete Dead Letters", parameters=(_CONTAINER_ID,), answer=ANY)


def dead_letter_routes(
    deployments: Deployments, keeper: DeadLetterKeeper, check: ClientCheck
) -> list[ApiRoute]:
    """Return the routes about dead letters."""

    def container(request: Request, client_id: str) -> str:
        return deployments.table.known(client_id, _CONTAINER_ID.read(request)).stored.container_id

    async def get_dead_letters(request: Request, client_id: str) -> Response:
        with errors_as_problems():
            container_id = container(request, client_id)
            letters = await keeper.letters(container_id)
        counts = keeper.counts(container_id)
        return JSONResponse(
            {"data": [_fields(each) for each in letters], "dropped": counts.dropped}
        )

    async def retry_dead_letter(request: Request, client_id: str) -> Response:
        number = int(_NUMBER.read(request))
        with errors_as_problems():
            letter = await keeper.retry(container(request, client_id), number)
        return JSONResponse(_fields(letter))

    async def delete_dead_letter(request: Request, client_id: str) -> Response:
        number = int(_NUMBER.read(request))
        with errors_as_problems():
            await keeper.discard(container(request, client_id), number)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def delete_dead_letters(request: Request, client_id: str) -> Response:
        with errors_as_problems():
            discarded = await keeper.discard_all(container(request, client_id))
        return JSONResponse({"discarded": discarded})

    every = f"{PREFIX}/containers/{{container_id}}/deadletters"
    one = f"{every}/{{letter_id}}"
    return [
        mcm_route(f"GET {every}", check, get_dead_letters, _LIST),
        mcm_route(f"DELETE {every}", check, delete_dead_letters, _DISCARD_ALL),
        mcm_route(f"POST {one}/retry", check, retry_dead_letter, _RETRY),
        mcm_route(f"DELETE {one}", check, delete_dead_letter, _DISCARD),
    ]


def _fields(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": str(letter.number),
        "at": int(letter.at * 1000),
        "topic": letter.topic,
        "payload": base64.b64encode(letter.payload).decode(),
        "size": len(letter.payload),
        "qos": letter.qos,
        "retain": letter.retain,
        "error": letter.error,
        "trace": letter.trace,
        "tries": letter.tries,
        "userProperties": [list(pair) for pair in letter.pairs],
    }
