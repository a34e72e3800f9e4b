"""The device's signature under each entry: Ed25519 (RFC 8032) over the entry's hash, which covers all before it.

A receipt, and the whole ledger, can be checked with the public key alone.
"""

import hashlib
from functools import cached_property

_DOMAIN = b"nl-entry-v1\0"
_ID_BYTES = 8


class DeviceKey:
    """The key pair of this device, made from 32 secret bytes that the vault keeps."""

    def __init__(self, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._private = Ed25519PrivateKey.from_private_bytes(seed)

    @cached_property
    def public(self) -> bytes:
        """The 32 bytes that check its signatures."""
        return self._private.public_key().public_bytes_raw()

    def sign(self, hash_hex: str) -> bytes:
        """The 64 bytes of a signature of an entry's hash."""
        return self._private.sign(_DOMAIN + bytes.fromhex(hash_hex))


def is_signed(public: bytes, hash_hex: str, sig: bytes | None) -> bool:
    """Whether ``sig`` was made for this entry's hash by the owner of the key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if sig is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(sig, _DOMAIN + bytes.fromhex(hash_hex))
    except (InvalidSignature, ValueError):
        return False
    return True


def device_id(public: bytes) -> bytes:
    """Eight bytes that tell one device from another: the first of SHA-256 of its public key."""
    return hashlib.sha256(public).digest()[:_ID_BYTES]
