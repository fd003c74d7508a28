"""Makes the keys that sign images."""

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.cli.errors import CliError
from gateway.cli.packaging.signing import load_signing_key
from gateway.services.images.signature import format_key
from gateway.storage.private_file import write_private

PUBLIC_SUFFIX = ".pub"


def make_signing_key(file: Path, *, as_json: bool) -> str:
    """Write a key pair into FILE and FILE.pub; return the report. A key that is there is kept."""
    public = file.with_name(file.name + PUBLIC_SUFFIX)
    try:
        is_new = not file.exists()
        key = Ed25519PrivateKey.generate() if is_new else load_signing_key(file)
        if is_new:
            file.parent.mkdir(parents=True, exist_ok=True)
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            write_private(file, pem)
        text = format_key(key.public_key())
        public.write_text(f"{text}\n", encoding="ascii")
    except OSError as exc:
        raise CliError(f"cannot write {file}: {(exc.strerror or str(exc)).lower()}") from exc
    if as_json:
        return json.dumps({"key": str(file), "public_key": str(public), "id": text, "made": is_new})
    return _next_steps(file, public, text, is_new=is_new)


def _next_steps(file: Path, public: Path, text: str, *, is_new: bool) -> str:
    return f"""\
{"made" if is_new else "kept":8} {file}  {public}

public key: {text}

Sign an image:
  hecate build DIR --sign {file}
  hecate deploy DIR --sign {file}

Let a gateway refuse every image that this key has not signed, in gateway.toml:
  [services]
  require_signature = true
  trusted_keys = ["{text}"]

Keep {file} as you keep a password: whoever has it can sign."""
