"""Serves the boards that wait for approval: list, approve, deny."""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.guard import Guard, SidecarCaller
from gateway.devices.admission import ApprovalError, DeviceAdmission
from gateway.devices.describe import describe_board
from gateway.devices.joining.pending import PendingBoard, PendingState
from gateway.devices.joining.requests import NAME_LIMIT
from gateway.http.parameters import PathText
from gateway.http.problems import Problem
from gateway.http.routes import OBJECT, ApiRoute, Operation, make_route
from gateway.sidecar.devices.fields import invalid, read_fields, read_name
from web import SafeJsonResponse

_BOARD = PathText("board", r"[^/]{1,64}")
_APPROVAL = {
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": NAME_LIMIT, "title": "Name"},
        "new": {"type": "boolean", "default": False, "title": "New"},
    },
    "additionalProperties": False,
    "type": "object",
    "title": "Approval",
    "description": "A name instead of the board's own; new: not as the device it was before.",
}
_LIST = Operation("devices", "The boards that wait for approval", answer=OBJECT)
_APPROVE = Operation(
    "devices",
    "Approve a board",
    "The board is named by its code, or by its board id if only one board has it.",
    parameters=(_BOARD,),
    body=("application/json", _APPROVAL),
    answer=OBJECT,
)
_DENY = Operation(
    "devices",
    "Refuse a board",
    parameters=(_BOARD,),
    status=HTTPStatus.NO_CONTENT,
)


@dataclass(frozen=True, slots=True)
class BoardsApi:
    """The operations on boards that wait for approval."""

    admission: DeviceAdmission

    async def list_boards(self, _request: Request, _caller: SidecarCaller) -> Response:
        """Answer with all boards."""
        pending = self.admission.pending
        boards = [self._describe(board) for board in pending.all() if board.name]
        return SafeJsonResponse({"data": boards, "refused": pending.refused})

    async def approve_board(self, request: Request, _caller: SidecarCaller) -> Response:
        """Let a board join."""
        what = "approve board"
        fields = await read_fields(request, ("name", "new"), what)
        name, as_new = read_name(fields, what) or "", fields.get("new", False)
        if not isinstance(as_new, bool):
            raise invalid(what, "new: Input should be true or false")
        board = self._find(request, "approve")
        if board.state is not PendingState.APPROVED:
            try:
                board = await self.admission.approve(board, name, as_new=as_new)
            except ApprovalError as exc:
                raise Problem(HTTPStatus.CONFLICT, str(exc)) from exc
        return SafeJsonResponse(self._describe(board))

    async def deny_board(self, request: Request, _caller: SidecarCaller) -> Response:
        """Refuse a board."""
        await self.admission.deny(self._find(request, "deny"))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    def _find(self, request: Request, what: str) -> PendingBoard:
        text = _BOARD.read(request)
        found = self.admission.pending.find(text)
        if not found:
            raise Problem(
                HTTPStatus.NOT_FOUND,
                f"cannot {what} {text:.64}: no board waits with this code or board id",
            )
        if len(found) > 1:
            codes = ", ".join(board.shown_code for board in found[:4])
            raise Problem(
                HTTPStatus.CONFLICT,
                f"cannot {what} {text:.64}: {len(found)} boards have this id; give the code that "
                f"the board shows, one of {codes}",
            )
        return found[0]

    def _describe(self, board: PendingBoard) -> dict[str, object]:
        return describe_board(board, self.admission.registry.find_board(board.client_id))


def boards_routes(guard: Guard, admission: DeviceAdmission) -> list[ApiRoute]:
    """Return the routes about boards that wait."""
    api, one = BoardsApi(admission), "/devices/v1/pending/{board}"
    return [
        make_route("GET /devices/v1/pending", guard.manager, api.list_boards, _LIST),
        make_route(f"POST {one}/approve", guard.manager, api.approve_board, _APPROVE),
        make_route(f"DELETE {one}", guard.manager, api.deny_board, _DENY),
    ]
