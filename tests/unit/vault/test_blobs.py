import zlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from nanolocal.errors import Damaged
from nanolocal.vault.blobs import Blobs, open_blob, padded_size, seal_blob

KEY = bytes(range(32))
CHUNK = 64 * 1024
HEAD = 37


@pytest.mark.parametrize("size", [0, 1, 247, 248, 249, 65_000, CHUNK - 8, CHUNK - 7, 3 * CHUNK, 1_000_003])
def test_data_of_any_size_comes_back(tmp_path: Path, size: int) -> None:
    blobs = Blobs(tmp_path / "blobs", KEY)
    data = bytes(size // 2) + b"\xff" * (size - size // 2)
    assert blobs.read(blobs.write(data)) == data


def test_the_format_can_be_read_by_its_description_alone() -> None:
    data = bytes(range(256)) * 600
    sealed = seal_blob(KEY, "name", data)
    header, body = sealed[:HEAD], sealed[HEAD:]
    assert header[:5] == b"NLB1\x01"
    key = HKDF(SHA256(), 32, header[5:], b"nanolocal/blob/v1").derive(KEY)
    nonces = [bytes(11) + b"\0", bytes(10) + b"\1\0", bytes(10) + b"\2\1"]
    chunks = [body[start : start + CHUNK + 16] for start in range(0, len(body), CHUNK + 16)]
    opened = [AESGCM(key).decrypt(*pair, header + b"name") for pair in zip(nonces, chunks, strict=True)]
    plain = b"".join(opened)
    assert int.from_bytes(plain[:8], "big") == len(data)
    assert plain[8:].rstrip(b"\0") == data.rstrip(b"\0")


def test_the_same_data_gives_another_file_each_time_and_no_pattern() -> None:
    data = b"a" * 300_000
    first, second = seal_blob(KEY, "x", data), seal_blob(KEY, "x", data)
    assert first[HEAD:] != second[HEAD:]
    assert len(zlib.compress(first, 9)) >= 0.999 * len(first)


def test_every_flipped_byte_is_noticed() -> None:
    sealed = seal_blob(KEY, "x", b"some data")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(Damaged):
            open_blob(KEY, "x", bytes(changed))


def test_every_truncation_and_extension_is_noticed() -> None:
    sealed = seal_blob(KEY, "x", bytes(3 * CHUNK))
    sealed_chunk = CHUNK + 16
    for length in [*range(HEAD + 40), HEAD + sealed_chunk, HEAD + 2 * sealed_chunk, len(sealed) - 1]:
        with pytest.raises(Damaged):
            open_blob(KEY, "x", sealed[:length])
    for more in (b"\0", sealed[HEAD : HEAD + sealed_chunk]):
        with pytest.raises(Damaged):
            open_blob(KEY, "x", sealed + more)


def test_chunks_cannot_change_places_nor_files_names() -> None:
    sealed = seal_blob(KEY, "x", bytes(3 * CHUNK))
    first, second = sealed[HEAD : HEAD + CHUNK + 16], sealed[HEAD + CHUNK + 16 : HEAD + 2 * (CHUNK + 16)]
    with pytest.raises(Damaged):
        open_blob(KEY, "x", sealed[:HEAD] + second + first + sealed[HEAD + 2 * (CHUNK + 16) :])
    with pytest.raises(Damaged):
        open_blob(KEY, "y", sealed)
    with pytest.raises(Damaged):
        open_blob(bytes(32), "x", sealed)


def test_a_missing_file_is_damage(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs", KEY)
    blob_id = blobs.write(b"x")
    blobs.delete(blob_id)
    blobs.delete(blob_id)
    with pytest.raises(Damaged):
        blobs.read(blob_id)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**40))
def test_padding_costs_at_most_twelve_percent_and_leaves_few_sizes(size: int) -> None:
    padded = padded_size(size)
    assert size <= padded <= max(256, size * 1.12)
    assert padded_size(padded) == padded
