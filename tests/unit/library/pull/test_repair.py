import os
from pathlib import Path

import pytest

from nanolocal.errors import TransferFailed, UsageError
from nanolocal.library.pull.plan import Fetched, Stage
from tests.hub.faults import Fault, Kind, Once
from tests.unit.library.pull.pulling import CHUNK, CONTENT_BYTES, Pulling


@pytest.fixture
def fetched(pulling: Pulling) -> Fetched:
    fetched = pulling.run()
    pulling.hub.asked.clear()
    return fetched


def damage(path: Path, *places: int) -> None:
    with path.open("r+b") as file:
        for place in places:
            byte = os.pread(file.fileno(), 1, place)[0]
            os.pwrite(file.fileno(), bytes([byte ^ 0x80]), place)


def test_only_damaged_chunks_are_fetched(pulling: Pulling, fetched: Fetched) -> None:
    damage(pulling.path, 5, 7, 4 * CHUNK, CONTENT_BYTES - 1)
    assert pulling.repair(fetched) == 3
    assert pulling.hub.served("m.gguf") == 2 * CHUNK + 77
    assert pulling.is_right()
    assert pulling.repair(fetched) == 0


def test_a_whole_file_needs_no_network(pulling: Pulling, fetched: Fetched) -> None:
    assert pulling.repair(fetched) == 0
    assert pulling.hub.asked == []


@pytest.mark.parametrize("size", [0, 3 * CHUNK + 5, CONTENT_BYTES - 1, CONTENT_BYTES + 1, CONTENT_BYTES + CHUNK])
def test_a_file_that_was_cut_or_grew_is_repaired(pulling: Pulling, fetched: Fetched, size: int) -> None:
    os.truncate(pulling.path, size)
    assert pulling.repair(fetched) == (11 - size // CHUNK if size < CONTENT_BYTES else 0)
    assert pulling.is_right()


def test_progress_is_told_while_it_is_looked_at(pulling: Pulling, fetched: Fetched) -> None:
    pulling.heard.clear()
    pulling.repair(fetched)
    assert (pulling.heard[-1].stage, pulling.heard[-1].done) == (Stage.CHECKING, CONTENT_BYTES)


def test_bytes_damaged_on_the_way_are_not_written(pulling: Pulling, fetched: Fetched) -> None:
    damage(pulling.path, 5)
    pulling.hub.plan = Once(Fault(Kind.BUSY, says="0"), Fault(Kind.DISCONNECT, 100), Fault(Kind.FLIP, 9))
    pulling.repair(fetched)
    assert pulling.is_right()


def test_a_server_with_other_bytes_changes_nothing(pulling: Pulling, fetched: Fetched) -> None:
    damage(pulling.path, 5, 4 * CHUNK)
    before = pulling.path.read_bytes()
    pulling.file.content = bytes(CONTENT_BYTES)
    pulling.hub.vouches = False
    with pytest.raises(TransferFailed, match="no longer has the same bytes"):
        pulling.repair(fetched)
    assert pulling.path.read_bytes() == before


def test_a_server_that_sends_whole_files_only_is_left(pulling: Pulling, fetched: Fetched) -> None:
    damage(pulling.path, 5)
    pulling.hub.knows_ranges = False
    with pytest.raises(TransferFailed, match="as a whole only"):
        pulling.repair(fetched)


def test_a_missing_file_or_a_link_is_not_repaired(pulling: Pulling, fetched: Fetched) -> None:
    pulling.path.rename(pulling.folder / "moved")
    with pytest.raises(UsageError, match="there is no file"):
        pulling.repair(fetched)
    pulling.path.symlink_to(pulling.folder / "moved")
    with pytest.raises(UsageError, match="cannot be used"):
        pulling.repair(fetched)
