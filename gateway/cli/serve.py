"""Runs the gateway in this process: `python -m gateway.cli.serve [gateway.toml]`.

Apart from the command line, because what that imports would stay in the gateway's memory.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from gateway.app import run_gateway
from gateway.config import load_gateway_config
from gateway.errors import GatewayError
from gateway.logs import configure_logs

# httpx imports its own command line if it can, with rich and pygments: 4 MiB. None in sys.modules
# makes that import fail (Python's "The import system", 5.3.1), which httpx expects.
sys.modules.setdefault("httpx._main", cast("Any", None))


def main(arguments: Sequence[str]) -> int:
    """Run until SIGTERM or Ctrl-C; return the exit code."""
    try:
        config = load_gateway_config(Path(arguments[0]) if arguments else None, os.environ)
        configure_logs(config.log.level)
        asyncio.run(run_gateway(config))
    except GatewayError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
