"""Files are read whole and compared with what their card, their store or their first check says."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from nanolocal.errors import UsageError
from nanolocal.library.adopted import Adopted, Entry
from nanolocal.library.discover import huggingface, ollama
from nanolocal.library.discover.scan import merged_entries, scan
from nanolocal.library.discover.stores import Store, Target
from nanolocal.library.found import Found
from nanolocal.library.library import Library
from nanolocal.library.records import Records
from nanolocal.library.verify import BuildCheck, Verdict, Verifier, subjects
from tests.fakes import stores
from tests.fakes.large import write_large_gguf

LARGE = 257 * 2**20
OK, FIRST, DAMAGED = Verdict.OK, Verdict.FIRST, Verdict.DAMAGED


def nothing(_: int) -> None:
    """Nobody listens."""


class Home:
    """A library over one folder that forgets nothing between its lives but what it holds in memory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models = root / "models"
        self.freed: list[str] = []

    def library(self) -> Library:
        adopted = Adopted(self.root / "adopted.json")
        return Library([self.models], self.root / "index.json", adopted, Records(self.root / "builds.json"))

    def adopt(self, *entries: Entry) -> None:
        Adopted(self.root / "adopted.json").keep(entries)

    def verify(self, *names: str) -> list[BuildCheck]:
        library = self.library()
        verifier = Verifier(library, nothing)
        checks = [verifier.check(subject) for subject in subjects(library, names)]
        self.freed = [build.id for build in verifier.finish()]
        return checks

    def only(self, *names: str) -> BuildCheck:
        (check,) = self.verify(*names)
        return check


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def flip(path: Path, *, at: int = -1, touched: bool = False) -> None:
    """Change one byte; unless ``touched``, as a failing disk does it: size and time stay."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    if not touched:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def write_carded(home: Home) -> Path:
    path = stores.write_gguf(home.models / "m" / "m-Q8_0.gguf", "M")
    files = [{"path": "m-Q8_0.gguf", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}]
    (path.parent / "card.json").write_text(json.dumps({"id": "m", "files": files}))
    return path


def test_the_card_is_believed(home: Home) -> None:
    write_carded(home)
    check = home.only()
    assert (check.verdict, check.files[0].says) == (OK, "as its card says")


def test_a_bit_that_fell_over_on_the_disk_is_found_and_the_build_leaves_the_library(home: Home) -> None:
    path = write_carded(home)
    home.verify()
    flip(path)
    assert [build.id for build in home.library().builds()] == ["m:Q8_0"]
    check = home.only()
    assert check.verdict is DAMAGED
    assert "not what its card says; size and time are as they were" in check.files[0].says
    assert home.library().builds() == ()
    assert "not the file that its card describes" in home.library().problems()[0].reason


def test_a_refused_file_is_checked_too_and_comes_back_when_it_is_whole_again(home: Home) -> None:
    path = write_carded(home)
    whole = path.read_bytes()
    flip(path, touched=True)
    assert home.only().verdict is DAMAGED
    for name in ("m", "m-Q8_0.gguf", str(path)):
        assert home.only(name).verdict is DAMAGED
    path.write_bytes(whole)
    assert home.only().verdict is OK
    assert [build.id for build in home.library().builds()] == ["m:Q8_0"]


def test_the_names_in_ollamas_store_are_hashes(home: Home) -> None:
    place = home.root / "ollama"
    weights = stores.write_gguf(home.root / "w.gguf", "Q")
    stores.write_ollama(place, "registry.ollama.ai/library/q/1b", weights)
    (found,) = [item for item in ollama.read(place, lambda text: None) if isinstance(item, Found)]
    home.adopt(Entry(str(found.path), "Ollama", str(place), found.known_as, found.model))
    check = home.only("q:1b")
    assert (check.verdict, check.files[0].says) == (OK, "as its name in Ollama's store says")
    flip(found.path, touched=True)
    check = home.only("q:1b")
    assert check.verdict is DAMAGED
    assert "not what its name in Ollama's store says; it was changed since" in check.files[0].says
    (build,) = home.library().builds()
    assert build.set_aside.startswith("sha256-") and "Ollama's store" in build.set_aside


def test_the_hubs_cache_names_large_files_by_sha256_and_small_ones_as_git_does(home: Home) -> None:
    source = stores.write_pipeline(home.root / "source")
    hub = home.root / "hub"
    snapshot = stores.write_hf_folder(hub, "org/p", source)
    small = snapshot / "model_index.json"
    content = small.read_bytes()
    git = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
    blob = small.resolve()
    blob.rename(blob.with_name(git))
    small.unlink()
    small.symlink_to(os.path.relpath(blob.with_name(git), small.parent))
    target = Target(Store("Hugging Face", huggingface.places, huggingface.read), hub)
    adopted = Adopted(home.root / "adopted.json")
    adopted.keep(merged_entries((), scan([target], home.library().descriptions, lambda text: None), ()))
    check = home.only()
    assert check.verdict is OK
    assert {each.says for each in check.files} == {"as its name in the hub's cache says"}
    assert len(check.files) == 6
    flip(blob.with_name(git), at=0)
    assert [each.path.name for each in home.only().files if each.verdict is DAMAGED] == ["model_index.json"]


def test_where_nobody_says_anything_the_first_check_counts(home: Home) -> None:
    path = stores.write_gguf(home.models / "m-Q8_0.gguf", "M")
    assert home.only().verdict is FIRST
    check = home.only()
    assert check.verdict is OK and check.files[0].says.startswith("as on 20")
    os.utime(path, (1, 1))
    assert home.only().files[0].is_changed
    flip(path)
    check = home.only()
    assert check.verdict is DAMAGED
    assert "though size and time are" in check.files[0].says
    (build,) = home.library().builds()
    assert "though size and time are" in build.set_aside


def test_another_file_in_its_place_is_no_damage_but_said(home: Home) -> None:
    path = stores.write_gguf(home.models / "m-Q8_0.gguf", "M")
    home.verify()
    flip(path, touched=True)
    check = home.only()
    assert check.verdict is FIRST
    assert check.files[0].is_changed
    assert check.files[0].says.startswith("another file than on 20")
    assert home.only().verdict is OK


def test_a_build_that_was_found_damaged_is_used_again_when_its_file_is_as_it_was(home: Home) -> None:
    path = stores.write_gguf(home.models / "m-Q8_0.gguf", "M")
    home.verify()
    flip(path)
    home.verify()
    assert home.library().builds()[0].set_aside
    flip(path)
    assert home.only().verdict is OK
    assert home.freed == ["m:Q8_0"]
    assert home.library().builds()[0].set_aside == ""


def test_a_large_file_has_its_own_hash_once_it_was_read(home: Home) -> None:
    path = write_large_gguf(home.models / "big-F32.gguf", LARGE)
    (before,) = home.library().builds()
    assert before.sha256.startswith("part:")
    assert home.only().verdict is FIRST
    (after,) = home.library().builds()
    with path.open("rb") as file:
        assert after.sha256 == hashlib.file_digest(file, "sha256").hexdigest()


def test_what_is_known_of_a_large_build_stays_known_when_it_was_read(home: Home) -> None:
    write_large_gguf(home.models / "big-F32.gguf", LARGE)
    library = home.library()
    for words in ("one", "two"):
        library.health.failed(library.builds()[0], words)
    home.verify()
    (after,) = home.library().builds()
    assert not after.sha256.startswith("part:")
    assert after.set_aside.endswith("two")


def test_a_copy_that_was_not_read_is_still_the_same_build(home: Home) -> None:
    write_large_gguf(home.models / "big-F32.gguf", LARGE)
    home.verify()
    write_large_gguf(home.models / "copy" / "again-F32.gguf", LARGE)
    write_large_gguf(home.models / "other-F32.gguf", LARGE, "Othe!")
    library = home.library()
    assert [build.id for build in library.builds()] == ["big:F32", "other:F32"]
    assert len(library.origin(library.builds()[0]).places) == 2


def test_every_place_of_a_build_is_read_but_no_file_twice(home: Home) -> None:
    path = stores.write_gguf(home.models / "a" / "m-Q8_0.gguf", "M")
    for name in ("b", "c"):
        (home.models / name).mkdir()
    os.link(path, home.models / "b" / "m-Q8_0.gguf")
    (home.models / "c" / "m-Q8_0.gguf").write_bytes(path.read_bytes())
    check = home.only()
    assert len(check.files) == 3
    assert len({each.sha256 for each in check.files}) == 1
    flip(home.models / "c" / "m-Q8_0.gguf")
    assert [each.verdict for each in home.only().files] == [OK, OK, DAMAGED]


def test_a_listed_file_that_is_missing_is_damage(home: Home) -> None:
    folder = stores.write_pipeline(home.models / "p")
    files = [
        {"path": file.relative_to(folder).as_posix(), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    ]
    (folder / "card.json").write_text(json.dumps({"files": files}))
    assert (home.only().verdict, len(home.only().files)) == (OK, 6)
    (folder / "unet" / "config.json").unlink()
    check = home.only()
    assert check.telling is not None
    assert (check.verdict, check.telling.says, check.telling.path.name) == (DAMAGED, "missing", "config.json")


def test_a_part_of_a_split_file_that_is_missing_is_named(home: Home) -> None:
    names = [f"m-Q8_0-0000{n}-of-00002.gguf" for n in (1, 2)]
    for n, name in enumerate(names):
        extra = {"split.no": n, "split.count": 2}
        stores.write_gguf(home.models / "m" / name, "M", value=n, extra=extra)
    files = [
        {"path": name, "sha256": hashlib.sha256((home.models / "m" / name).read_bytes()).hexdigest()} for name in names
    ]
    (home.models / "m" / "card.json").write_text(json.dumps({"id": "m", "files": files}))
    assert [each.verdict for each in home.only().files] == [OK, OK]
    (home.models / "m" / names[1]).unlink()
    assert [(each.path.name, each.says) for each in home.only("m").files if each.verdict is DAMAGED] == [
        (names[1], "missing")
    ]


def test_a_card_that_points_out_of_its_folder_is_not_followed(home: Home) -> None:
    folder = stores.write_pipeline(home.models / "p")
    (home.root / "secret").write_text("x")
    listed = [{"path": "../../secret", "sha256": "0" * 64}, {"path": str(home.root / "secret"), "sha256": "0" * 64}]
    (folder / "card.json").write_text(json.dumps({"files": listed}))
    assert {each.path.is_relative_to(folder) for each in home.only().files} == {True}


def test_unknown_names_are_refused(home: Home) -> None:
    with pytest.raises(UsageError, match="no build is called 'nothing'"):
        home.verify("nothing")


def test_what_was_read_before_an_interruption_is_kept(home: Home) -> None:
    for n in range(3):
        stores.write_gguf(home.models / f"m{n}-Q8_0.gguf", f"m{n}", value=n)
    library = home.library()
    read: list[int] = []

    def interrupt(count: int) -> None:
        read.append(count)
        if len(read) == 3:
            raise KeyboardInterrupt

    verifier = Verifier(library, interrupt)
    with pytest.raises(KeyboardInterrupt):
        for subject in subjects(library):
            verifier.check(subject)
    verifier.finish()
    assert [check.verdict for check in home.verify()] == [OK, OK, FIRST]


def test_a_name_that_is_not_text_is_checked_like_any_other(home: Home) -> None:
    home.models.mkdir()
    odd = Path(os.fsdecode(os.fsencode(home.models) + b"/caf\xe9-Q8_0.gguf"))
    stores.write_gguf(home.models / "m.gguf", "M").rename(odd)
    assert home.only().verdict is FIRST
    assert home.only().verdict is OK
