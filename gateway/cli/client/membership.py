"""Shows, joins and leaves the account of a gateway, and lets other gateways join one's own."""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import typer

from gateway.cli.client.contexts import check_url
from gateway.cli.client.sidecar import SidecarClient, decode_answer, is_loopback, trust_of
from gateway.cli.client.target import Target, find_state, read_key_file
from gateway.cli.errors import CliError
from gateway.cli.output import console, notes, print_json
from gateway.cli.view.words import duration

POLL_S = 1.0
TIMEOUT_S = 10.0
DEVELOPMENT_USER = "dev"
PASSWORD_FILE = "cloud/dev-password"  # noqa: S105  # below the state folder of `hecate up`


async def show_account(target: Target, *, as_json: bool) -> None:
    """Show the account, and the code that is open."""
    async with SidecarClient(target) as sidecar:
        answer = await _account(sidecar)
    if as_json:
        print_json(answer)
        return
    out, shown = console(), answer.get("join")
    if answer.get("accountId"):
        out.print(f"account {answer['accountId']} at {answer.get('cloud')}", soft_wrap=True)
    elif isinstance(shown, dict):
        _show_code(shown)
    else:
        why = f" ({answer['error']})" if answer.get("error") else ""
        hint = "`hecate account join` joins one" if answer.get("cloud") else "it has no cloud"
        out.print("no account", soft_wrap=True)
        notes().print(f"{hint}{why}", style="dim", soft_wrap=True)


async def join_account(target: Target, *, wait: bool, as_json: bool) -> None:
    """Show a code; wait until a person has typed it."""
    async with SidecarClient(target) as sidecar:
        answer = await sidecar.call("join account", "POST", "/account/v1/join")
        shown = answer.get("join") if isinstance(answer, dict) else None
        if not isinstance(shown, dict):
            raise CliError("cannot join account: the gateway shows no code")
        if as_json and not wait:
            print_json(answer)
            return
        _show_code(shown, to_notes=as_json)
        if wait:
            account_id = await _until_joined(sidecar)
            if as_json:
                print_json({"accountId": account_id})
            else:
                console().print(f"joined account {account_id}", soft_wrap=True)


async def leave_account(target: Target, *, as_json: bool) -> None:
    """Leave the account."""
    async with SidecarClient(target) as sidecar:
        answer = await sidecar.call("leave account", "DELETE", "/account/v1")
    if as_json:
        print_json(answer)
    else:
        console().print(f"left account {answer['left']}", soft_wrap=True)


def confirm_leave(*, yes: bool) -> None:
    """Ask a person whether they mean it; CliError without a terminal, or without a yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CliError("cannot ask whether to leave the account: no terminal; give --yes")
    if not typer.confirm("Leave the account? Its members reach this gateway no more"):
        raise CliError("cannot leave account: not confirmed")


async def find_cloud(target: Target) -> str:
    """Return the URL of a gateway's cloud; CliError when it has none."""
    async with SidecarClient(target) as sidecar:
        url = str((await _account(sidecar)).get("cloud") or "")
    if not url:
        raise CliError("cannot accept code: this gateway has no cloud; give --cloud URL")
    return url


def read_identity(token_file: Path | None, state: Path | None) -> dict[str, str]:
    """Return the credentials for the cloud: an access token, or the development user's password."""
    if token_file is not None:
        return {"token": read_key_file(str(token_file)).reveal()}
    path = find_state(state, os.environ) / PASSWORD_FILE
    try:
        return {"username": DEVELOPMENT_USER, "password": path.read_text().strip()}
    except OSError as exc:
        raise CliError(
            f"cannot sign in to the cloud: {path}: {(exc.strerror or str(exc)).lower()}; "
            "give --token-file FILE, or type the code on the page that the gateway names"
        ) from exc


async def approve_code(
    cloud: str, credentials: dict[str, str], code: str, *, allow: bool, as_json: bool
) -> None:
    """Send the cloud the owner's answer to a code."""
    url = check_url(cloud)
    form = {**credentials, "user_code": code, "allow": "true" if allow else "false"}
    token = form.pop("token", "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(
        timeout=TIMEOUT_S, verify=trust_of(url, os.environ), trust_env=not is_loopback(url)
    ) as http:
        try:
            response = await http.post(f"{url}/mid/v1/device", data=form, headers=headers)
        except httpx.HTTPError as exc:
            why = str(exc) or type(exc).__name__
            raise CliError(
                f"cannot accept code: no cloud answers at {url} ({why}); give --cloud URL"
            ) from exc
    answer = decode_answer("accept code", response)
    if as_json:
        print_json(answer)
    else:
        done = "may join" if allow else "is refused by"
        console().print(
            f"node {answer['node_name']} ({answer['node_id'][:12]}…) {done} "
            f"account {answer['account_id']}",
            soft_wrap=True,
        )


async def _account(sidecar: SidecarClient) -> dict[str, Any]:
    answer = await sidecar.call("show account", "GET", "/account/v1")
    return answer if isinstance(answer, dict) else {}


async def _until_joined(sidecar: SidecarClient) -> str:
    while True:
        await asyncio.sleep(POLL_S)
        answer = await _account(sidecar)
        if answer.get("accountId"):
            return str(answer["accountId"])
        if not answer.get("join"):
            why = str(answer.get("error") or "the code is shown no more")
            raise CliError(why if why.startswith("cannot ") else f"cannot join account: {why}")


def _show_code(shown: dict[str, Any], *, to_notes: bool = False) -> None:
    out = notes() if to_notes else console()
    left_s = float(shown.get("expires_at") or 0) - time.time()
    out.print(f"code {shown.get('user_code')}, good for {duration(round(left_s))}", soft_wrap=True)
    out.print(
        f"type it at {shown.get('verification_uri_complete')}, or run "
        f"`hecate account approve {shown.get('user_code')}` where the account is",
        soft_wrap=True,
    )
