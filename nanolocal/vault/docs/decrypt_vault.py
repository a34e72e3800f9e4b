"""Read a vault without nanolocal: python decrypt_vault.py VAULT [DIRECTORY] < passphrase, recovery code or empty line.

Prints a JSON object a message; attachments and pictures go, in clear and named by their blob_id, into DIRECTORY.
"""

# ruff: noqa: D103
import hashlib
import hmac
import json
import sqlite3
import sys
import unicodedata
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PAGE, RESERVED, CHUNK, SYMBOLS = 4096, 80, 65536 + 16, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def derive(secret: bytes, purpose: str, salt: bytes = b"") -> bytes:
    return HKDF(SHA256(), 32, salt or None, f"nanolocal/{purpose}/v1".encode()).derive(secret)


def unseal(key: bytes, sealed: dict[str, str], bound_to: list[Any]) -> bytes:
    record = json.dumps(bound_to, sort_keys=True, indent=1).encode() + b"\n"
    return AESGCM(key).decrypt(bytes.fromhex(sealed["nonce"]), bytes.fromhex(sealed["ciphertext"]), record)


def master_key(vault: Path, header: dict[str, Any], secret: str) -> bytes:
    code = secret.upper().translate(str.maketrans("OIL", "011", " -"))
    is_code = len(code) == 56 and set(code) <= set(SYMBOLS)
    wanted = "recovery" if is_code else "passphrase" if secret else "keyfile"
    slot = next(slot for slot in header["slots"] if slot["kind"] == wanted)
    salt, kdf = bytes.fromhex(slot["salt"]), slot["kdf"]
    if is_code:
        number = int("".join(f"{SYMBOLS.index(symbol):05b}" for symbol in code[:52]), 2) >> 4
        key = derive(number.to_bytes(32, "big"), "recovery-slot", salt)
    elif secret:
        cost = {"iterations": kdf["iterations"], "lanes": kdf["lanes"], "memory_cost": kdf["memory_kib"]}
        key = Argon2id(salt=salt, length=32, **cost).derive(unicodedata.normalize("NFC", secret).encode())
    else:
        key = derive(bytes.fromhex((vault / "vault.key").read_text()), "keyfile-slot", salt)
    return unseal(key, slot["master"], ["nanolocal/slot/v1", header["vault_id"], slot["id"], wanted, slot["salt"], kdf])


def clear_page(number: int, page: bytes, key: bytes, mac_key: bytes) -> bytes:
    start, iv = 16 if number == 1 else 0, page[-RESERVED : -RESERVED + 16]
    tag = hmac.digest(mac_key, page[start:-64] + number.to_bytes(4, "little"), "sha512")
    assert hmac.compare_digest(tag, page[-64:]) or not any(page), f"page {number} was changed"  # unused at 1 GiB
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return b"SQLite format 3\0"[:start] + cipher.update(page[start:-RESERVED]) + bytes(RESERVED)


def database(vault: Path, key: bytes) -> sqlite3.Connection:
    raw, log_file = (vault / "vault.db").read_bytes(), vault / "vault.db-wal"
    pages = {1 + at // PAGE: raw[at : at + PAGE] for at in range(0, len(raw), PAGE)}
    log, waiting = log_file.read_bytes() if log_file.exists() else b"", dict[int, bytes]()
    for at in range(32, len(log) - PAGE - 23, PAGE + 24):
        if log[at + 8 : at + 16] != log[16:24]:
            break  # left over from an earlier use of the log
        waiting[int.from_bytes(log[at : at + 4], "big")] = log[at + 24 : at + 24 + PAGE]
        if size := int.from_bytes(log[at + 4 : at + 8], "big"):  # a commit: the database's size in pages
            pages = {number: page for number, page in (pages | waiting).items() if number <= size}
    mac_key = hashlib.pbkdf2_hmac("sha512", key[:32], bytes(byte ^ 0x3A for byte in key[32:]), 2, 32)
    clear = bytearray(b"".join(clear_page(number, pages[number], key[:32], mac_key) for number in sorted(pages)))
    clear[18:20] = b"\1\1"  # in memory there is no log
    connection = sqlite3.connect(":memory:")
    connection.deserialize(bytes(clear))
    return connection


def blob(raw: bytes, key: bytes, name: bytes) -> bytes:
    cipher, last = AESGCM(derive(key, "blob", raw[5:37])), (len(raw) - 38) // CHUNK
    nonces = [number.to_bytes(11, "big") + bytes([number == last]) for number in range(last + 1)]
    chunks = (raw[37 + number * CHUNK : 37 + (number + 1) * CHUNK] for number in range(last + 1))
    plain = b"".join(map(cipher.decrypt, nonces, chunks, [raw[:37] + name] * (last + 1)))
    return plain[8 : 8 + int.from_bytes(plain[:8], "big")]


vault, header = Path(sys.argv[1]), json.loads((Path(sys.argv[1]) / "vault.hdr").read_bytes())
wrap = derive(master_key(vault, header, sys.stdin.readline().rstrip("\r\n")), "wrap")
keys = {name: unseal(wrap, it, ["nanolocal/key/v1", header["vault_id"], name]) for name, it in header["keys"].items()}
tables = database(vault, next(key for key in keys.values() if key[32:] == (vault / "vault.db").read_bytes()[:16]))
tables.row_factory = sqlite3.Row
for row in tables.execute(
    "SELECT c.title, c.system, m.* FROM message m JOIN chat c ON c.id = m.chat_id ORDER BY m.seq"
):
    files = [dict(file) for file in tables.execute("SELECT * FROM attachment WHERE message_id = ?", (row["id"],))]
    for file in files:
        name, row_key = file["blob_id"], file.pop("key", None) or b""
        if len(sys.argv) > 2:
            sealed = (vault / "blobs" / name).read_bytes()
            (Path(sys.argv[2]) / name).write_bytes(blob(sealed, keys["blob"] + row_key, name.encode()))
    sys.stdout.write(json.dumps(dict(row) | {"files": files}) + "\n")
