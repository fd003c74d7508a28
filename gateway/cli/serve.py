"""Runs the gateway in this process: `python -m gateway.cli.serve [gateway.toml]`.

Apart from the command line, because what that imports would stay in the gateway's memory.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.app import run_gateway
from gateway.config import load_gateway_config
from gateway.errors import GatewayError
from gateway.logs import configure_logs


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
