"""Draws docs/pictures/up.svg: the live view of the gateway that runs on this machine."""

import re
import sys
import time
from io import StringIO
from pathlib import Path

import httpx
from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

LOOKS = 6  # rates need a few


def main() -> int:
    """Look a few times at GET /status/v1 and save what `hecate up` would show."""
    from gateway.cli.view.screen import render
    from gateway.cli.view.snapshot import parse_snapshot
    from gateway.cli.view.watch import Watch

    url, key_file = sys.argv[1], Path(sys.argv[2])
    headers = {"Authorization": f"Bearer {key_file.read_text().strip()}"}
    watch = Watch()
    for _ in range(LOOKS):
        status = httpx.get(f"{url}/status/v1", headers=headers).raise_for_status().json()
        picture = watch.take(parse_snapshot(status), time.monotonic())
        time.sleep(1)
    console = Console(record=True, width=112, force_terminal=True, file=StringIO())
    console.print(render(picture, time.time(), "Ctrl-C ends everything"))
    drawing = console.export_svg(title="make run")
    # the page that shows it shall load no font from elsewhere
    drawing = re.sub(r"@font-face \{.*?\}\s*", "", drawing, flags=re.DOTALL)
    (ROOT / "docs" / "pictures" / "up.svg").write_text(drawing)
    return 0


if __name__ == "__main__":
    sys.exit(main())
