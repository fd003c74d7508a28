"""Reads the key that signs an image."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.cli.errors import OptionError
from gateway.services.images.signature import KEY_FILE_LIMIT_BYTES, read_private_key


def load_signing_key(file: Path) -> Ed25519PrivateKey:
    """Return the key in a file; CliError when it is none."""
    try:
        with file.expanduser().open("rb") as source:
            return read_private_key(source.read(KEY_FILE_LIMIT_BYTES))
    except OSError as exc:
        raise OptionError(
            f"cannot read key {file}: {(exc.strerror or str(exc)).lower()}; "
            "`hecate keys signing FILE` makes one"
        ) from exc
    except ValueError as exc:
        raise OptionError(
            f"cannot use key {file}: {exc}; `hecate keys signing FILE` makes one"
        ) from exc
