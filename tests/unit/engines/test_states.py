"""Sealed files of what an engine has read: what goes in comes out, and whatever was changed is found."""

import ctypes
import os
import secrets
from pathlib import Path

import pytest

from nanolocal.engines import states
from nanolocal.engines.states import Reader, State, Unreadable

KEY = bytes(range(32))
SIZE = 9 * 2**20 + 5


@pytest.fixture(scope="module")
def state() -> State:
    return State([7, 8, 9], (ctypes.c_uint8 * SIZE).from_buffer_copy(secrets.token_bytes(SIZE)))


@pytest.fixture
def file(tmp_path: Path, state: State) -> Path:
    path = tmp_path / "state"
    size = states.write(path, KEY, "engine 1", state)
    assert size == path.stat().st_size > SIZE
    return path


def read(path: Path, key: bytes = KEY, stamp: str = "engine 1") -> State:
    with Reader(path, key, stamp) as reader:
        return reader.state()


def test_a_state_comes_back_and_only_its_owner_may_open_the_file(file: Path, state: State) -> None:
    again = read(file)
    assert (again.tokens, bytes(again.data)) == (state.tokens, bytes(state.data))
    assert file.stat().st_mode & 0o777 == 0o600


def test_nothing_of_it_is_in_clear(tmp_path: Path) -> None:
    words = b"a secret that nobody may read " * 1000
    path = tmp_path / "state"
    states.write(path, KEY, "engine 1", State([31337] * 50, (ctypes.c_uint8 * len(words)).from_buffer_copy(words)))
    data = path.read_bytes()
    assert b"secret" not in data and b"31337" not in data and b"engine" not in data


def test_another_key_another_engine_and_no_file_are_unreadable(file: Path) -> None:
    for path, key, stamp in ((file, b"x" * 32, "engine 1"), (file, KEY, "engine 2"), (file.parent / "no", KEY, "")):
        with pytest.raises(Unreadable):
            read(path, key, stamp)


@pytest.mark.parametrize("place", [0, 3, 5, 9, 40, 200, 2**20, 5 * 2**20, -1])
def test_a_changed_bit_is_found(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    with pytest.raises(Unreadable):
        read(file)


@pytest.mark.parametrize("left", [0, 4, 8, 100, 5 * 2**20, -1])
def test_a_file_that_was_cut_off_is_found(file: Path, left: int) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:left])
    with pytest.raises(Unreadable):
        read(file)


def test_exchanged_and_missing_records_are_found(file: Path) -> None:
    data = file.read_bytes()
    records, at = [], 4
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        records.append(data[at:end])
        at = end
    assert len(records) == 4
    head, first, second, last = records
    for order in ((head, second, first, last), (head, first, last), (head, first, second), (head, first, first, last)):
        file.write_bytes(data[:4] + b"".join(order))
        with pytest.raises(Unreadable):
            read(file)


def test_a_full_disk_is_an_os_error(state: State) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(OSError, match=os.strerror(28)):
        states.write(Path("/dev/full"), KEY, "engine 1", state)
