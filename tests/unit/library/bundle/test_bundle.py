"""A build in one file and back: everything arrives, or nothing is left."""

import hashlib
import io
import json
import os
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from nanolocal.chat.routes import Build
from nanolocal.errors import Damaged, NanolocalError, UsageError
from nanolocal.library.adopted import Adopted
from nanolocal.library.bundle.archive import header, padding
from nanolocal.library.bundle.exporting import export
from nanolocal.library.bundle.hashing import Hashing
from nanolocal.library.bundle.importing import Taken, take
from nanolocal.library.bundle.manifest import MEMBER, Manifest
from nanolocal.library.discover.scan import merged_entries, scan
from nanolocal.library.discover.stores import target_for
from nanolocal.library.discover.system import System
from nanolocal.library.library import Library
from tests.fakes import stores
from tests.hub.stored import HOSTILE_NAMES


class Machine:
    """A home with a library."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models = root / "models"
        self.models.mkdir(parents=True)

    def library(self) -> Library:
        return Library([self.models], self.root / "cache" / "builds.json", Adopted(self.root / "adopted.json"))

    def only(self) -> Build:
        (build,) = self.library().builds()
        return build

    def export(self, build: Build | None = None) -> bytes:
        out = io.BytesIO()
        export(build or self.only(), out, lambda what, done, total: None)
        return out.getvalue()

    def take(self, bundle: bytes) -> Taken:
        return take(io.BytesIO(bundle), self.models, self.library(), lambda what, done, total: None)

    def clear(self) -> None:
        shutil.rmtree(self.models)
        self.models.mkdir()

    def held(self) -> dict[str, bytes]:
        found = {path.relative_to(self.models).as_posix(): path for path in self.models.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in found.items() if not name.startswith(".pulled/")}


@pytest.fixture
def here(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "there")


def test_a_gguf_with_its_card(here: Machine, there: Machine) -> None:
    file = stores.write_gguf(here.models / "a" / "small-Q8_0.gguf")
    (file.parent / "card.json").write_text(
        '{"id": "little", "name": "Little", "licence": "MIT", "quality": {"*": 0.3}}'
    )
    taken = there.take(here.export())
    build = there.only()
    assert (build.id, build.name, build.licence, build.quality) == ("little:Q8_0", "Little", "MIT", {"*": 0.3})
    assert build.path == taken.place
    assert build.sha256 == here.only().sha256
    assert not taken.was_here


def test_a_split_gguf_with_a_projector(here: Machine, there: Machine) -> None:
    for number in (1, 2, 3):
        extra = {"split.no": number - 1, "split.count": 3}
        stores.write_gguf(here.models / "b" / f"big-Q8_0-0000{number}-of-00003.gguf", extra=extra, value=number)
    stores.write_gguf(here.models / "b" / "mmproj-F16.gguf", architecture="clip", kind="mmproj")
    there.take(here.export())
    build = there.only()
    assert (build.id, build.sha256) == ("big:Q8_0", here.only().sha256)
    assert build.projector is not None
    assert len(there.held()) == 5


def test_a_pipeline(here: Machine, there: Machine) -> None:
    folder = stores.write_pipeline(here.models / "painter")
    (folder / "unet" / "old.bin").write_bytes(b"a pickle")
    (folder / "run.sh").write_text("code")
    there.take(here.export())
    assert (there.only().id, there.only().sha256) == (here.only().id, here.only().sha256)
    assert {name.partition("/")[2] for name in there.held()} == {
        "card.json", "model_index.json", "scheduler/scheduler_config.json", "unet/config.json", "vae/config.json",
        "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
    }  # fmt: skip


def test_a_build_of_another_program_is_read_where_it_is(here: Machine, there: Machine, tmp_path: Path) -> None:
    store = tmp_path / "ollama" / "models"
    weights = stores.write_gguf(tmp_path / "w", "qwen")
    eye = stores.write_gguf(tmp_path / "eye", architecture="clip", kind="mmproj")
    stores.write_ollama(store, "registry.ollama.ai/library/qwen3/4b", weights, eye)
    library = here.library()
    reports = scan([target_for(store, System.here())], library.descriptions, lambda text: None)
    assert library.adopted is not None
    library.adopted.keep(merged_entries((), reports, library.directories))
    before = stores.census(store)
    there.take(here.export())
    build = there.only()
    assert build.id.startswith("qwen3-4b:")
    assert build.path.name.startswith("qwen3-4b")
    assert build.projector is not None
    assert stores.census(store) == before


def test_any_tar_can_read_it(here: Machine, tmp_path: Path) -> None:
    file = stores.write_gguf(here.models / "a" / "small-Q8_0.gguf")
    with tarfile.open(fileobj=io.BytesIO(here.export())) as archive:
        assert archive.getnames() == ["bundle.json", "small-Q8_0.gguf"]
        archive.extractall(tmp_path / "out", filter="data")
    assert (tmp_path / "out" / "small-Q8_0.gguf").read_bytes() == file.read_bytes()


def test_a_second_import_has_nothing_to_do(here: Machine, there: Machine) -> None:
    stores.write_pipeline(here.models / "painter")
    bundle = here.export()
    there.take(bundle)
    before = stores.census(there.models)
    assert there.take(bundle).was_here
    assert stores.census(there.models) == before


def test_another_build_of_that_name_gets_a_folder_of_its_own(here: Machine, there: Machine) -> None:
    stores.write_gguf(here.models / "a" / "small-Q8_0.gguf", value=1)
    there.take(here.export())
    stores.write_gguf(here.models / "a" / "small-Q8_0.gguf", value=2)
    there.take(here.export())
    assert len(there.library().builds()) == 2


def test_chunk_hashes_arrive_too(here: Machine, there: Machine) -> None:
    stores.write_gguf(here.models / "a" / "big-Q8_0.gguf", tensors=17_000)
    there.take(here.export())
    assert [path.stem for path in (there.models / ".pulled").iterdir()] == [there.only().sha256]


def test_a_file_that_is_not_what_its_card_says_is_not_exported(here: Machine) -> None:
    file = stores.write_gguf(here.models / "a" / "small-Q8_0.gguf")
    build = here.only()
    (file.parent / "card.json").write_text('{"files": [{"path": "small-Q8_0.gguf", "sha256": "%s"}]}' % ("0" * 64))
    with pytest.raises(Damaged):
        here.export(build)


def test_every_damaged_bundle_leaves_nothing(here: Machine, there: Machine) -> None:
    stores.write_pipeline(here.models / "painter")
    bundle = here.export()
    there.take(bundle)
    whole = there.held()
    there.clear()
    chance = random.Random(5)
    for _ in range(150):
        place = chance.randrange(len(bundle) - 1024)
        changed = bytearray(bundle)
        changed[place] ^= 1 << chance.randrange(8)
        try:
            there.take(bytes(changed))
        except (Damaged, UsageError):
            assert there.held() == {}
            assert list(there.models.iterdir()) == []
        else:  # a bit of what fills the last block of a file
            assert there.held() == whole
            there.clear()


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 0.5, 0.9, 0.999])
def test_a_bundle_that_ends_too_early_leaves_nothing(here: Machine, there: Machine, share: float) -> None:
    stores.write_pipeline(here.models / "painter")
    bundle = here.export().rstrip(b"\0")
    with pytest.raises(Damaged):
        there.take(bundle[: int(len(bundle) * share)])
    assert list(there.models.iterdir()) == []


def forged(
    manifest: Manifest, members: list[tuple[str, bytes]], change: Callable[[bytes], bytes] = lambda raw: raw
) -> bytes:
    """A bundle with whatever in it."""
    raw = change(manifest.encoded())
    parts = [(MEMBER, raw), *members]
    return b"".join(header(name, len(data)) + data + padding(len(data)) for name, data in parts) + bytes(1024)


def resealed(raw: bytes) -> bytes:
    """With the hash that the changed list has."""
    try:
        table = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    del table["sha256"]
    return json.dumps(
        {**table, "sha256": hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()}
    ).encode()


def one(name: str, data: bytes, **facts: object) -> Manifest:
    hashing = Hashing()
    hashing.add(data)
    given = {"build": "x:Q8_0", "name": "x", "kind": "text", "folder": "x", **facts}
    return Manifest(**given, files=(hashing.done(name),))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in HOSTILE_NAMES if name.lower().endswith(".gguf")])
def test_names_that_lead_elsewhere_are_refused(there: Machine, name: str) -> None:
    with pytest.raises(NanolocalError):
        there.take(forged(one(name, b"x"), [("x.gguf", b"x")]))
    assert list(there.models.iterdir()) == []
    assert [path.name for path in there.root.parent.iterdir()] == ["there"]


@pytest.mark.parametrize("folder", ["..", ".", "a/../..", "/tmp", ".pulled", "con", "a\\b"])
def test_folders_that_lead_elsewhere_are_refused(there: Machine, folder: str) -> None:
    with pytest.raises(NanolocalError):
        there.take(forged(one("x.gguf", b"x", folder=folder), [("x.gguf", b"x")]))
    assert list(there.models.iterdir()) == []


@pytest.mark.parametrize("name", ["run.py", "x.bin", "x.ckpt", "x.tar", "card.json", "x"])
def test_files_that_no_build_needs_are_refused(there: Machine, name: str) -> None:
    with pytest.raises(UsageError, match="refused"):
        there.take(forged(one(name, b"x"), [(name, b"x")]))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE,
                                  tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE])  # fmt: skip
def test_only_regular_files_are_taken(there: Machine, kind: bytes) -> None:
    info = tarfile.TarInfo("x.gguf")
    info.type, info.linkname = kind, "/etc/passwd"
    start = forged(one("x.gguf", b""), [])[:-1024]
    with pytest.raises(Damaged):
        there.take(start + info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert list(there.models.iterdir()) == []


def test_members_come_in_the_order_of_the_list_and_no_others(there: Machine, tmp_path: Path) -> None:
    data = stores.write_gguf(tmp_path / "x").read_bytes()
    for members in ([("y.gguf", data)], [("x.gguf", data), ("x.gguf", data)], [("x.gguf", data + b"x")], []):
        with pytest.raises(Damaged):
            there.take(forged(one("x.gguf", data), members))
    assert list(there.models.iterdir()) == []
    there.take(forged(one("x.gguf", data), [("x.gguf", data)]))
    assert there.only().id == "x:Q8_0"


@pytest.mark.parametrize(("old", "new"), [
    (b'"version": 1', b'"version": 2'), (b'"size": 1', b'"size": -1'), (b'"size": 1', b'"size": 1.0'),
    (b'"files": [{', b'"files": [7, {'), (b'"kind": "text"', b'"kind": "code"'), (b'"card": {}', b'"card": 1'),
    (b'"folder": "x"', b'"folder": 1'), (b"{", b"[" * 2000), (b'"chunks": [', b'"chunks": ["", '),
    (b'"chunk_bytes": 16777216', b'"chunk_bytes": 0'),
])  # fmt: skip
def test_lists_that_make_no_sense_are_refused(there: Machine, old: bytes, new: bytes) -> None:
    def change(raw: bytes) -> bytes:
        assert old in raw
        return resealed(raw.replace(old, new, 1))

    with pytest.raises(NanolocalError):
        there.take(forged(one("x.gguf", b"x"), [("x.gguf", b"x")], change))
    assert list(there.models.iterdir()) == []


def test_what_is_whole_and_no_build_is_refused_too(there: Machine) -> None:
    with pytest.raises(Damaged, match="no usable build"):
        there.take(forged(one("x.gguf", b"hello"), [("x.gguf", b"hello")]))
    assert list(there.models.iterdir()) == []


def test_what_a_kill_left_behind_goes_with_the_next_import(here: Machine, there: Machine) -> None:
    stores.write_gguf(here.models / "a" / "small-Q8_0.gguf")
    left = there.models / ".importing" / "0123"
    left.mkdir(parents=True)
    (left / "big.gguf").write_bytes(b"half")
    there.take(here.export())
    assert not (there.models / ".importing").exists()
    assert there.only().id == "small:Q8_0"


def test_two_imports_at_once_leave_each_other_alone(here: Machine, there: Machine) -> None:
    import fcntl

    stores.write_gguf(here.models / "a" / "small-Q8_0.gguf")
    other = there.models / ".importing" / "0123"
    other.mkdir(parents=True)
    (other / "big.gguf").write_bytes(b"half")
    lock = os.open(other, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    there.take(here.export())
    assert (other / "big.gguf").exists()
    os.close(lock)
