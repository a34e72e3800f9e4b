"""The vault's cryptography in four moves: stretch a passphrase, derive a key, seal, unseal.

passphrase    -Argon2id-> slot key ---.
                                       > AES-256-GCM unseals the master key -HKDF-> header MAC key, wrapping key
key file or   -HKDF-----> slot key ---'                                             wrapping key unseals the data keys
recovery code
"""

import hashlib
import secrets
import time
import unicodedata
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from nanolocal.errors import Damaged

KEY_BYTES = 32
SALT_BYTES = 16
NONCE_BYTES = 12
_UNLOCK_SECONDS = 0.75
_LARGEST_DEFAULT_KIB = 256 * 1024
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_AS_READ = str.maketrans("OIL", "011", " -\n\t\r")
_CODE_SYMBOLS, _CHECK_SYMBOLS = 52, 4


@dataclass(frozen=True, slots=True)
class Stretching:
    """Argon2id's cost: KiB of memory, passes over it, lanes. RFC 9106's second choice is the default and the floor."""

    memory_kib: int = 64 * 1024
    iterations: int = 3
    lanes: int = 4

    def check(self) -> None:
        """Raise ``Damaged`` outside sane bounds: a forged header must not make this process allocate or compute."""
        sane = 19 * 1024 <= self.memory_kib <= 1024 * 1024 and 1 <= self.iterations <= 16 and 1 <= self.lanes <= 16
        if not sane:
            raise Damaged(
                "the vault's header asks for key derivation settings that nanolocal never writes",
                "put vault.hdr.bak in its place",
            )


@dataclass(frozen=True, slots=True)
class Sealed:
    """An AES-256-GCM ciphertext with its tag, and the random nonce it was made with."""

    nonce: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class DatabaseKey:
    """SQLCipher's raw key and the salt that stands in the first 16 bytes of the database; stored together."""

    key: bytes = field(repr=False)
    salt: bytes

    @staticmethod
    def from_bytes(data: bytes) -> "DatabaseKey":
        """Split the 48 bytes that the header keeps."""
        return DatabaseKey(data[:KEY_BYTES], data[KEY_BYTES:])

    def as_bytes(self) -> bytes:
        """The 48 bytes that the header keeps."""
        return self.key + self.salt


def stretch(passphrase: str, salt: bytes, cost: Stretching) -> bytearray:
    """Turn a passphrase into a slot key. The text is normalised (NFC), so that every keyboard gives the same bytes."""
    cost.check()
    text = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    derived = bytearray(KEY_BYTES)
    kdf = Argon2id(
        salt=salt, length=KEY_BYTES, iterations=cost.iterations, lanes=cost.lanes, memory_cost=cost.memory_kib
    )
    kdf.derive_into(text, derived)
    return derived


def measured_stretching() -> Stretching:
    """The default cost, doubled in memory while an unlock on this machine would still take under 0.75 s."""
    cost = Stretching()
    while cost.memory_kib < _LARGEST_DEFAULT_KIB:
        started = time.perf_counter()
        stretch("measure", bytes(SALT_BYTES), cost)
        if 2 * (time.perf_counter() - started) > _UNLOCK_SECONDS:
            break
        cost = Stretching(cost.memory_kib * 2, cost.iterations, cost.lanes)
    return cost


def recovery_code(secret: bytes) -> str:
    """32 bytes to be written on paper: 52 symbols and 4 for their checksum, in fourteen groups (Crockford's base32)."""
    number = int.from_bytes(secret, "big") << 4
    symbols = [(number >> shift) & 31 for shift in range(255, -1, -5)] + _check_symbols(secret)
    text = "".join(_CROCKFORD[symbol] for symbol in symbols)
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def parse_recovery_code(text: str) -> bytes | None:
    """The 32 bytes of a recovery code as a person types it, or ``None`` for anything else or a slip of the pen."""
    plain = text.upper().translate(_AS_READ)
    if len(plain) != _CODE_SYMBOLS + _CHECK_SYMBOLS or not set(plain) <= set(_CROCKFORD):
        return None
    symbols = [_CROCKFORD.index(symbol) for symbol in plain]
    number = 0
    for symbol in symbols[:_CODE_SYMBOLS]:
        number = number << 5 | symbol
    secret = (number >> 4).to_bytes(KEY_BYTES, "big")
    return secret if number & 15 == 0 and symbols[_CODE_SYMBOLS:] == _check_symbols(secret) else None


def _check_symbols(secret: bytes) -> list[int]:
    number = int.from_bytes(hashlib.sha256(secret).digest()[:3], "big") >> 4
    return [(number >> shift) & 31 for shift in (15, 10, 5, 0)]


def derive(secret: bytes | bytearray, purpose: str, salt: bytes = b"") -> bytes:
    """Derive an independent 32-byte key for ``purpose`` (HKDF-SHA256)."""
    return HKDF(SHA256(), KEY_BYTES, salt or None, f"nanolocal/{purpose}/v1".encode()).derive(bytes(secret))


def seal(key: bytes | bytearray, data: bytes | bytearray, bound_to: bytes) -> Sealed:
    """Encrypt ``data``; it can be unsealed only together with the same ``bound_to``."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return Sealed(nonce, AESGCM(bytes(key)).encrypt(nonce, bytes(data), bound_to))


def unseal(key: bytes | bytearray, sealed: Sealed, bound_to: bytes) -> bytes | None:
    """Decrypt, or return ``None`` when the key is wrong or anything was changed."""
    try:
        return AESGCM(bytes(key)).decrypt(sealed.nonce, sealed.ciphertext, bound_to)
    except InvalidTag:
        return None
