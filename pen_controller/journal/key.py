"""The key that signs the journal's checkpoints: made at first use, for its owner's eyes only."""

from pathlib import Path

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pen_controller import files

KEY_BYTES = 32


def beside(journal: Path) -> Path:
    """Where the key of a journal lies."""
    return journal.with_name(f"{journal.name}.key")


def private_key(path: Path) -> Ed25519PrivateKey:
    """Return the key in a PEM file, which is made if it is not there.

    Raises:
        ValueError: it is no Ed25519 key.
        OSError: it cannot be read or made.
    """
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        files.save(path, made.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    key = _private(path.read_bytes())
    if key is None:
        raise ValueError(f"key {path}: it is no Ed25519 key: put the right one back, or move it away for a new one")
    return key


def public_key(source: str) -> bytes:
    """Return the public key, 32 bytes, that 64 hexadecimal digits or a PEM file (public or private) give.

    Raises:
        ValueError: they give none.
        OSError: the file cannot be read.
    """
    if len(digits := source.strip()) == 2 * KEY_BYTES and not Path(source).exists():
        return bytes.fromhex(digits)
    pem = Path(source).read_bytes()
    if (private := _private(pem)) is not None:
        return private.public_key().public_bytes_raw()
    return _public(pem, f"key {source}: give an Ed25519 key, as PEM file or as 64 hexadecimal digits")


def _public(pem: bytes, instead: str) -> bytes:
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm, InternalError) as error:
        raise ValueError(instead) from error
    if isinstance(key, Ed25519PublicKey):
        return key.public_bytes_raw()
    raise ValueError(instead)


def _private(pem: bytes) -> Ed25519PrivateKey | None:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):  # TypeError: it has a password
        return None
    return key if isinstance(key, Ed25519PrivateKey) else None
