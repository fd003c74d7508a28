"""The page where a person types the code that a node shows. Pure."""

from html import escape

# nothing but the form itself, and nobody may frame it (OWASP, clickjacking)
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:26rem;margin:3rem auto;padding:0 1rem}"
    "label{display:block;margin:1rem 0 .2rem}"
    "input{width:100%;box-sizing:border-box;font:inherit;padding:.5rem}"
    "button{font:inherit;padding:.5rem 1.2rem;margin:1.2rem .5rem 0 0}"
)
_DEVELOPMENT = """<label for="username">User of the development login</label>
<input id="username" name="username" value="dev" autocomplete="username">
<label for="password">Password (the file dev-password of the cloud's state)</label>
<input id="password" name="password" type="password" autocomplete="current-password">"""
_PROVIDER = """<label for="id_token">ID token of your provider</label>
<input id="id_token" name="id_token" type="password" autocomplete="off">"""


def render_form(user_code: str, *, development: bool) -> str:
    """Return the page with the form."""
    who = _DEVELOPMENT if development else _PROVIDER
    return _page(
        "Let a node join your account",
        f"""<p>Type the code that the node shows. Only do so for a node of your own: it will be a
member of your account.</p>
<form method="post" action="device">
<label for="user_code">Code</label>
<input id="user_code" name="user_code" value="{escape(user_code)}" autocomplete="off" required>
{who}
<button name="allow" value="true">Let it join</button>
<button name="allow" value="false">Refuse it</button>
</form>""",
    )


def render_result(heading: str, text: str) -> str:
    """Return the page that says what came of it."""
    return _page(heading, f"<p>{escape(text)}</p>")


def _page(heading: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(heading)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(heading)}</h1>\n{content}\n</body></html>\n"
    )
