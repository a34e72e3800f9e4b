"""Encrypted files (format NLB1) for what is too large for the database: attachments and pictures.

    "NLB1" | algorithm 1 | 32-byte salt | chunk | chunk | ...

Each chunk is 64 KiB sealed with AES-256-GCM under HKDF(data key || row key, salt); its nonce is an 11-byte counter
and a flag on the last chunk (STREAM), so chunks cannot be dropped, repeated, reordered or cut off. The additional
data is the header and the file's own name, so files cannot change places. The plaintext is an 8-byte length, the
data, and zeros up to a Padme size: the size on disk tells little. Names are random. The row key lies in the database
beside the file's name: once that row is gone and the database has a new key, no copy of the file can be read.
"""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nanolocal.errors import Damaged, UsageError
from nanolocal.vault.files import make_private_directory, sync_directory, write_durably
from nanolocal.vault.keys import derive

_MAGIC = b"NLB1\x01"
_SALT_BYTES = 32
_CHUNK = 64 * 1024
_TAG = 16
_LENGTH_BYTES = 8
_SMALLEST = 256


class Blobs:
    """A directory of encrypted files, each named by its id (32 hex digits)."""

    def __init__(self, directory: Path, key: bytes) -> None:
        self._directory = directory
        self._key = key
        make_private_directory(directory)

    def write(self, data: bytes, row_key: bytes = b"") -> str:
        """Store ``data`` durably under a new random id; only together with ``row_key`` can it be read again."""
        blob_id = secrets.token_hex(16)
        try:
            write_durably(self._directory / blob_id, seal_blob(self._key + row_key, blob_id, data))
        except OSError as error:
            raise UsageError(f"cannot store an attachment: {error.strerror}", "check the space left on disk") from error
        return blob_id

    def read(self, blob_id: str, row_key: bytes = b"") -> bytes:
        """The data stored under ``blob_id``; raises ``Damaged`` if it is missing or was changed."""
        return open_blob(self._key + row_key, blob_id, self._sealed(blob_id))

    def sealed(self, blob_id: str, row_key: bytes) -> bytes:
        """The encrypted bytes of a file; raises ``Damaged`` where ``read`` would."""
        sealed = self._sealed(blob_id)
        open_blob(self._key + row_key, blob_id, sealed)
        return sealed

    def delete(self, blob_id: str) -> None:
        """Remove a file; a missing one is no error."""
        (self._directory / blob_id).unlink(missing_ok=True)

    def discard(self, blob_ids: Iterable[str]) -> None:
        """Remove files; one that resists is left for the next unlock's sweep."""
        for blob_id in blob_ids:
            with suppress(OSError):
                self.delete(blob_id)

    def keep_only(self, blob_ids: set[str]) -> int:
        """Remove every file not named, such as those of a write that a crash cut short; returns how many."""
        strays = [path for path in self._directory.iterdir() if path.name not in blob_ids]
        for path in strays:
            path.unlink(missing_ok=True)
        if strays:
            sync_directory(self._directory)
        return len(strays)

    def _sealed(self, blob_id: str) -> bytes:
        try:
            return (self._directory / blob_id).read_bytes()
        except OSError as error:
            raise Damaged(f"the stored file {blob_id} is missing", "restore it from a backup") from error


def seal_blob(key: bytes, blob_id: str, data: bytes) -> bytes:
    """Encrypt ``data`` into the bytes of an NLB1 file."""
    header = _MAGIC + secrets.token_bytes(_SALT_BYTES)
    plain = len(data).to_bytes(_LENGTH_BYTES, "big") + data
    plain += bytes(padded_size(len(plain)) - len(plain))
    cipher, bound_to = _cipher(key, header, blob_id)
    chunks = [plain[start : start + _CHUNK] for start in range(0, len(plain), _CHUNK)]
    sealed = (cipher.encrypt(nonce, chunk, bound_to) for nonce, chunk in zip(_nonces(len(chunks)), chunks, strict=True))
    return header + b"".join(sealed)


def open_blob(key: bytes, blob_id: str, sealed: bytes) -> bytes:
    """Decrypt the bytes of an NLB1 file; raises ``Damaged``."""
    head = len(_MAGIC) + _SALT_BYTES
    header, body = sealed[:head], memoryview(sealed)[head:]
    cipher, bound_to = _cipher(key, header, blob_id)
    chunks = [body[start : start + _CHUNK + _TAG] for start in range(0, len(body), _CHUNK + _TAG)]
    try:
        nonces = _nonces(len(chunks))
        plain = b"".join(cipher.decrypt(nonce, chunk, bound_to) for nonce, chunk in zip(nonces, chunks, strict=True))
    except InvalidTag as error:
        raise Damaged(f"the stored file {blob_id} is damaged", "restore it from a backup") from error
    length = int.from_bytes(plain[:_LENGTH_BYTES], "big")
    if not sealed.startswith(_MAGIC) or not plain or length > len(plain) - _LENGTH_BYTES:
        raise Damaged(f"the stored file {blob_id} is damaged", "restore it from a backup")
    return plain[_LENGTH_BYTES : _LENGTH_BYTES + length]


def sealed_size(size: int) -> int:
    """How large the NLB1 file of ``size`` bytes is."""
    padded = padded_size(_LENGTH_BYTES + size)
    return len(_MAGIC) + _SALT_BYTES + padded + -(-padded // _CHUNK) * _TAG


def padded_size(size: int) -> int:
    """The Padme size: rounds up by at most 12 %, so that few sizes exist; never below 256 bytes."""
    size = max(size, _SMALLEST)
    exponent = size.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return -(-size // step) * step


def _cipher(key: bytes, header: bytes, blob_id: str) -> tuple[AESGCM, bytes]:
    return AESGCM(derive(key, "blob", header[len(_MAGIC) :])), header + blob_id.encode()


def _nonces(count: int) -> Iterator[bytes]:
    return (index.to_bytes(11, "big") + bytes([index == count - 1]) for index in range(count))
