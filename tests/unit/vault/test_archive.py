"""The one form of tar that backups have: any tar reads it, and nothing but itself is read."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from nanolocal.errors import Damaged
from nanolocal.vault.archive import Reader, Writer

FILES = {"one": b"1" * 700, "dir/two": b"", "three": b"3" * 512}


def written(path: Path, files: dict[str, bytes] = FILES) -> Path:
    with path.open("wb") as out:
        writer = Writer(out, 1, lambda *_: None)
        for name, data in files.items():
            writer.add(name, len(data), [data[:100], data[100:]])
        writer.end()
    return path


def read(path: Path, files: dict[str, bytes] = FILES, largest: int = 9999) -> dict[str, bytes]:
    with path.open("rb") as source:
        reader = Reader(source, lambda *_: None)
        found = {name: b"".join(reader.part(name, largest)) for name in files}
        reader.end()
        return found


def test_what_was_written_is_read_and_any_tar_unpacks_it(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tar")
    assert read(path) == FILES
    assert path.stat().st_size % tarfile.RECORDSIZE == 0
    subprocess.run(["tar", "-xf", str(path), "-C", str(tmp_path)], check=True)
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == FILES
    with tarfile.open(path) as archive:
        for info in archive:
            assert (info.mode, info.mtime, info.uid, info.gid, info.uname, info.gname) == (0o600, 0, 0, 0, "", "")


def test_every_flipped_bit_every_cut_and_every_added_byte_is_damage(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.tar").read_bytes()
    changed = tmp_path / "changed.tar"
    for position in [*range(2048), *range(2048, len(whole), 11)]:
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        changed.write_bytes(data)
        try:
            found = read(changed)
        except Damaged:
            continue
        assert found != FILES, position
    for end in range(0, len(whole), 256):
        changed.write_bytes(whole[:end])
        with pytest.raises(Damaged):
            read(changed)
    changed.write_bytes(whole + b"\0")
    with pytest.raises(Damaged):
        read(changed)


def test_other_names_orders_sizes_and_kinds_of_members_are_damage(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tar")
    with pytest.raises(Damaged):
        read(path, largest=699)
    for names in (["dir/two", "one", "three"], ["one", "three"], [*FILES, "four"], ["../one", "dir/two", "three"]):
        with pytest.raises(Damaged):
            read(path, dict.fromkeys(names, b""))


@pytest.mark.parametrize(
    "made", [{"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, {"mode": 0o4777}, {"mtime": 1}, {"uname": "me"}]
)
def test_a_tar_of_another_make_is_damage(tmp_path: Path, made: dict[str, object]) -> None:
    info = tarfile.TarInfo("one")
    info.mode = 0o600
    for name, value in made.items():
        setattr(info, name, value)
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(info, io.BytesIO())
    with pytest.raises(Damaged):
        read(tmp_path / "a.tar", {"one": b""})


def test_what_the_standard_library_writes_alike_is_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("one")
    info.mode, info.size = 0o600, 700
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(FILES["one"]))
    assert read(tmp_path / "a.tar", {"one": b""}) == {"one": FILES["one"]}


def test_a_size_of_many_gigabytes_is_no_reason_to_read_that_much(tmp_path: Path) -> None:
    info = tarfile.TarInfo("one")
    info.mode, info.size = 0o600, 1 << 60
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    with pytest.raises(Damaged):
        read(tmp_path / "a.tar", {"one": b""}, largest=1 << 20)
