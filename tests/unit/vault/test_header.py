import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanolocal.errors import Damaged, NanolocalError
from nanolocal.vault.header import decode
from nanolocal.vault.vault import Vault
from tests.fakes.homes import CHEAP, MIGRATIONS, PASSPHRASE


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("vault") / "home"
    Vault.create(made, PASSPHRASE, MIGRATIONS, CHEAP).close()
    return made


@pytest.fixture(scope="module")
def raw(directory: Path) -> bytes:
    return (directory / "vault.hdr").read_bytes()


def forged(raw: bytes, *path: str | int, value: object) -> bytes:
    """The header with one member changed, and the keyless checksum made right again, as an attacker would."""
    record = json.loads(raw)
    del record["sum"]
    place = record
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return written(record)


def written(record: dict[str, object]) -> bytes:
    def canonical(value: object) -> bytes:
        return json.dumps(value, sort_keys=True, indent=1).encode() + b"\n"

    return canonical({**record, "sum": hashlib.sha256(canonical(record)).hexdigest()})


def refused(directory: Path, header: bytes) -> NanolocalError:
    kept = (directory / "vault.hdr").read_bytes()
    try:
        (directory / "vault.hdr").write_bytes(header)
        with pytest.raises(NanolocalError) as caught:
            Vault.open(directory, PASSPHRASE, MIGRATIONS)
        return caught.value
    finally:
        (directory / "vault.hdr").write_bytes(kept)


def test_every_flipped_bit_is_damage(raw: bytes) -> None:
    decode(raw)
    for position in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[position] ^= 1 << bit
            with pytest.raises(Damaged):
                decode(bytes(changed))


def test_every_truncation_is_damage(raw: bytes) -> None:
    for length in range(len(raw)):
        with pytest.raises(Damaged):
            decode(raw[:length])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_damage(noise: bytes) -> None:
    with pytest.raises(Damaged):
        decode(noise)


@pytest.mark.parametrize(
    "hostile",
    [b"[" * 60_000, b'{"a":' * 10_000, b"9" * 50_000, b"NaN", b"1e999", b" " * 70_000, b"null", b"\xff\xfe", b""],
)
def test_hostile_json_is_damage(hostile: bytes) -> None:
    with pytest.raises(Damaged):
        decode(hostile)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2), st.just({})
)
PLACES = [
    ("anchor",), ("anchor", "seq"), ("anchor", "head"), ("epoch",), ("format",), ("keys",), ("keys", "db"), ("mac",),
    ("keys", "db", "nonce"), ("keys", "blob", "ciphertext"), ("slots",), ("slots", 0), ("slots", 0, "kdf"),
    ("slots", 0, "kdf", "name"), ("slots", 0, "kdf", "lanes"), ("slots", 0, "kind"), ("slots", 0, "master"),
    ("slots", 0, "salt"), ("slots", 0, "id"), ("vault_id",), ("version",), ("unknown",),
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PLACES), VALUES)
def test_a_forged_header_never_opens(directory: Path, raw: bytes, place: tuple[str | int, ...], value: object) -> None:
    header = forged(raw, *place, value=value)
    if header != raw:
        assert isinstance(refused(directory, header), NanolocalError)


@pytest.mark.parametrize(
    ("name", "value"),
    [("memory_kib", 64 * 1024 * 1024), ("memory_kib", 1), ("iterations", 2**31), ("iterations", 0), ("lanes", 10**6)],
)
def test_hostile_key_derivation_is_refused_without_deriving(directory: Path, raw: bytes, name: str, value: int) -> None:
    error = refused(directory, forged(raw, "slots", 0, "kdf", name, value=value))
    assert isinstance(error, Damaged)  # after deriving it would be VaultLocked, or no memory left


def test_a_weakened_or_injected_slot_does_not_open(directory: Path, raw: bytes) -> None:
    record = json.loads(raw)
    stronger = {**record["slots"][0]["kdf"], "iterations": 2}
    assert refused(directory, forged(raw, "slots", 0, "kdf", value=stronger)).exit_code == 3
    for count in (0, 2):
        slots = record["slots"] * count
        assert refused(directory, forged(raw, "slots", value=slots)).exit_code == 6
    extra = {**record["slots"][0], "kind": "keyfile", "kdf": None}
    assert refused(directory, forged(raw, "slots", value=[*record["slots"], extra])).exit_code == 6


def test_the_anchor_cannot_be_turned_back_by_hand(directory: Path, raw: bytes) -> None:
    assert refused(directory, forged(raw, "anchor", "seq", value=3)).exit_code == 6


def test_a_header_of_a_newer_program_is_named_as_such(directory: Path, raw: bytes) -> None:
    assert refused(directory, forged(raw, "version", value=3)).exit_code == 3


def test_the_header_of_another_vault_does_not_open_this_one(directory: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    Vault.create(other, PASSPHRASE, MIGRATIONS, CHEAP).close()
    assert refused(directory, (other / "vault.hdr").read_bytes()).exit_code == 6
