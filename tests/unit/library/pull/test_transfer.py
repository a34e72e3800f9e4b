import asyncio
import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.errors import TransferFailed, UsageError
from nanolocal.library.pull.control import Control
from nanolocal.library.pull.plan import Progress, Stage, Wanted
from tests.hub.faults import Asked, Fault, Kind, Once, no_faults
from tests.unit.library.pull.pulling import CHUNK, CONTENT_BYTES, TOKEN, Pulling

WANTED: dict[str, Callable[[Pulling], Wanted]] = {
    "pinned": Pulling.pinned,
    "unnamed": lambda pulling: replace(pulling.pinned(), size=None, sha256=""),
    "plain": Pulling.plain,
}


class InContent:
    """Faults, one for each request for a content, the first ones left out."""

    def __init__(self, *faults: Fault, after: int = 0) -> None:
        self._once = Once(*faults)
        self._after = after

    def __call__(self, asked: Asked) -> Fault | None:
        if asked.leads_on:
            return None
        self._after -= 1
        return self._once(asked) if self._after < 0 else None


def stop_after(control: Control, done: int) -> Callable[[Progress], None]:
    return lambda progress: control.stop() if progress.done >= done else None


@pytest.mark.parametrize("kind", WANTED)
def test_a_file_is_fetched_once_and_known_by_its_hashes(pulling: Pulling, kind: str) -> None:
    fetched = pulling.run(WANTED[kind](pulling))
    content = pulling.file.content
    chunks = tuple(hashlib.sha256(content[start : start + CHUNK]).digest() for start in range(0, len(content), CHUNK))
    assert (fetched.name, fetched.size, fetched.sha256) == ("m.gguf", CONTENT_BYTES, pulling.file.sha256)
    assert (fetched.chunk_bytes, fetched.chunks) == (CHUNK, chunks)
    assert pulling.is_right()
    assert pulling.again == 0
    assert pulling.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1])
@pytest.mark.parametrize("kind", WANTED)
def test_files_of_any_size(pulling: Pulling, size: int, kind: str) -> None:
    pulling.file.content = b"\5" * size
    assert pulling.run(WANTED[kind](pulling)).size == size
    assert pulling.is_right()


def test_a_file_in_folders(pulling: Pulling) -> None:
    pulling.run(replace(pulling.pinned(), name="unet/weights/m.gguf"))
    assert (pulling.folder / "unet/weights/m.gguf").read_bytes() == pulling.file.content


def test_several_connections_share_the_chunks_and_ask_the_hub_once(pulling: Pulling) -> None:
    pulling.run(control=Control(connections=3))
    contents = [asked for asked in pulling.hub.asked if asked.host == "cdn"]
    assert sorted(asked.start for asked in contents) == [n * CHUNK for n in range(11)]
    assert len(pulling.hub.asked) == len(contents) + 1


@pytest.mark.parametrize("kind", WANTED)
def test_a_server_that_knows_no_parts_sends_it_whole(pulling: Pulling, kind: str) -> None:
    pulling.hub.knows_ranges = False
    pulling.run(WANTED[kind](pulling))
    assert pulling.is_right()
    assert pulling.again == 0


@pytest.mark.parametrize("kind", WANTED)
def test_a_whole_file_that_breaks_off_keeps_what_came(pulling: Pulling, kind: str) -> None:
    pulling.hub.knows_ranges = False
    pulling.hub.plan = InContent(Fault(Kind.DISCONNECT, 3 * CHUNK + 5))
    pulling.run(WANTED[kind](pulling))
    assert pulling.is_right()
    assert [asked.status for asked in pulling.hub.asked if not asked.leads_on] == [200] * 4  # two are not believed


@pytest.mark.parametrize("kind", WANTED)
def test_a_length_that_nobody_says_is_found_at_the_end(pulling: Pulling, kind: str) -> None:
    pulling.hub.knows_ranges = pulling.hub.says_length = False
    pulling.run(WANTED[kind](pulling))
    assert pulling.is_right()


def test_a_file_without_any_mark_is_fetched_anew_after_a_fault(pulling: Pulling) -> None:
    pulling.hub.sends_mark = False
    pulling.hub.plan = InContent(Fault(Kind.DISCONNECT, 5 * CHUNK), after=1)
    pulling.run(pulling.plain())
    assert pulling.is_right()
    assert [asked.range for asked in pulling.hub.asked[1:]] == ["", ""]


@pytest.mark.parametrize("kind", WANTED)
def test_a_stopped_download_goes_on_where_it_stopped(pulling: Pulling, kind: str) -> None:
    wanted, control = WANTED[kind](pulling), Control(bytes_per_second=8 * CHUNK, connections=1)
    with pytest.raises(TransferFailed, match="stopped"):
        pulling.run(wanted, control, stop_after(control, 2 * CHUNK))
    assert (pulling.part.exists(), pulling.path.exists()) == (True, False)
    before = len(pulling.hub.asked)
    pulling.run(wanted)
    starts = [asked.start for asked in pulling.hub.asked[before:] if asked.served]
    assert min(starts) >= 2 * CHUNK
    assert pulling.is_right()


def test_a_cancelled_download_goes_on_too(pulling: Pulling) -> None:
    async def run() -> None:
        reached = asyncio.Event()

        def tell(progress: Progress) -> None:
            if progress.done >= 2 * CHUNK:
                reached.set()

        task = asyncio.ensure_future(pulling.fetch(None, Control(8 * CHUNK, connections=1), tell))
        await reached.wait()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    before = len(pulling.hub.asked)
    pulling.run()
    assert min(asked.start for asked in pulling.hub.asked[before:] if asked.served) >= 2 * CHUNK
    assert pulling.is_right()


def test_a_pause_takes_nothing_until_it_is_resumed(pulling: Pulling) -> None:
    async def run() -> None:
        control, paused = Control(), asyncio.Event()
        control.pause()

        def tell(progress: Progress) -> None:
            if progress.stage is Stage.PAUSED:
                paused.set()

        task = asyncio.ensure_future(pulling.fetch(None, control, tell))
        await paused.wait()
        assert pulling.hub.asked == []
        control.resume()
        await task

    asyncio.run(run())
    assert pulling.is_right()


@pytest.mark.parametrize("is_torn", [False, True])
def test_bytes_that_changed_on_the_disk_meanwhile_are_not_believed(pulling: Pulling, is_torn: bool) -> None:
    control = Control(bytes_per_second=8 * CHUNK, connections=1)
    with pytest.raises(TransferFailed, match="stopped"):
        pulling.run(None, control, stop_after(control, 3 * CHUNK))
    with pulling.part.open("r+b") as part:
        part.seek(CHUNK + 100)
        part.write(b"damage")
    if is_torn:
        pulling.journal.write_bytes(pulling.journal.read_bytes()[:-20])
    pulling.run()
    assert pulling.is_right()


def test_a_forged_journal_costs_only_fetching(pulling: Pulling) -> None:
    control = Control(bytes_per_second=8 * CHUNK, connections=1)
    with pytest.raises(TransferFailed, match="stopped"):
        pulling.run(None, control, stop_after(control, CHUNK))
    evil = bytes(CHUNK)
    with pulling.part.open("r+b") as part, pulling.journal.open("ab") as journal:
        part.seek(5 * CHUNK)
        part.write(evil)
        journal.write(b"5 %d %s\n" % (CHUNK, hashlib.sha256(evil).hexdigest().encode()))
    pulling.run()
    assert pulling.is_right()
    assert Stage.REPAIRING in pulling.stages()


def test_another_version_than_the_one_that_arrived_begins_anew(pulling: Pulling) -> None:
    control = Control(bytes_per_second=8 * CHUNK, connections=1)
    with pytest.raises(TransferFailed, match="stopped"):
        pulling.run(pulling.plain(), control, stop_after(control, 2 * CHUNK))
    pulling.file.content = pulling.file.content[::-1]
    pulling.run(pulling.plain())
    assert pulling.is_right()


def test_a_file_exchanged_on_the_way_begins_anew_unless_it_was_chosen(pulling: Pulling) -> None:
    new, chosen = pulling.file.content[::-1], pulling.pinned()

    def exchange(progress: Progress) -> None:
        pulling.file.content = new

    pulling.hub.plan = InContent(Fault(Kind.FORBIDDEN), after=3)
    with pytest.raises(TransferFailed, match="no longer the file that was chosen"):
        pulling.run(chosen, Control(connections=1), exchange)
    assert not pulling.path.exists()
    pulling.hub.plan = no_faults
    pulling.run(replace(chosen, size=None, sha256=""))
    assert pulling.is_right()


def test_a_new_mark_is_no_new_file_where_the_hub_names_the_hash(pulling: Pulling) -> None:
    on_the_way, in_content = Once(Fault(Kind.ELSEWHERE)), InContent(Fault(Kind.NEW_ETAG), after=4)
    pulling.hub.plan = lambda asked: on_the_way(asked) if asked.leads_on else in_content(asked)
    pulling.run(WANTED["unnamed"](pulling), Control(connections=1))
    assert pulling.is_right()
    assert pulling.again <= CHUNK


def test_a_new_mark_is_a_new_file_once_the_hub_names_no_hash_any_more(pulling: Pulling) -> None:
    new = pulling.file.content[::-1]

    def exchange(progress: Progress) -> None:
        pulling.file.content, pulling.hub.vouches = new, False

    pulling.run(WANTED["unnamed"](pulling), Control(connections=1), exchange)
    assert pulling.is_right()


def test_a_file_that_keeps_changing_is_given_up(pulling: Pulling) -> None:
    def change(asked: Asked) -> None:
        pulling.file.version += 1

    pulling.hub.plan = change
    with pytest.raises(TransferFailed, match="keeps changing"):
        pulling.run(pulling.plain())


def test_another_sha256_or_size_than_promised_is_refused_before_a_byte(pulling: Pulling) -> None:
    for wanted in (replace(pulling.pinned(), sha256="ab" * 32), replace(pulling.pinned(), size=5)):
        with pytest.raises(TransferFailed, match="no longer the file that was chosen"):
            pulling.run(wanted)
    assert list(pulling.folder.iterdir()) == []


def test_a_hub_that_does_not_keep_its_promise_leaves_no_file(pulling: Pulling) -> None:
    pulling.hub.vouches = False
    with pytest.raises(TransferFailed, match="does not have the SHA-256 that was promised"):
        pulling.run(replace(pulling.pinned(), sha256="ab" * 32))
    assert list(pulling.folder.iterdir()) == []


def test_a_damaged_file_that_comes_only_as_a_whole_is_removed_and_fetched_anew(pulling: Pulling) -> None:
    pulling.hub.knows_ranges = False
    pulling.hub.plan = InContent(Fault(Kind.FLIP, 100))
    with pytest.raises(TransferFailed, match="so it was removed"):
        pulling.run()
    assert list(pulling.folder.iterdir()) == []
    pulling.run()
    assert pulling.is_right()


@pytest.mark.parametrize("flips", [1, 3])
def test_bits_flipped_on_the_way_are_found_at_the_end(pulling: Pulling, flips: int) -> None:
    pulling.hub.plan = InContent(*[Fault(Kind.FLIP, 100 * n) for n in range(flips)], after=4)
    pulling.run()
    assert pulling.is_right()
    assert Stage.REPAIRING in pulling.stages()


def test_with_a_digest_a_flipped_bit_costs_one_chunk(pulling: Pulling) -> None:
    pulling.hub.sends_digest = True
    pulling.hub.plan = InContent(Fault(Kind.FLIP, 100), after=4)
    pulling.run()
    assert pulling.is_right()
    assert pulling.again == CHUNK


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in (Kind.LOOP, Kind.DOWNGRADE, Kind.FLIP)])
def test_one_fault_of_any_kind_costs_a_chunk_at_most(pulling: Pulling, kind: Kind) -> None:
    pulling.token = TOKEN
    pulling.hub.accounts[TOKEN] = set()
    pulling.hub.plan = InContent(Fault(kind, CHUNK // 3, "0"), after=3)
    pulling.run(control=Control(connections=1))
    assert pulling.is_right()
    assert pulling.again <= CHUNK
    assert pulling.hub.authorizations("cdn") | pulling.hub.authorizations("elsewhere") == {""}


def test_a_server_that_never_answers_well_is_given_up(pulling: Pulling) -> None:
    pulling.hub.plan = lambda asked: None if asked.leads_on else Fault(Kind.WRONG_RANGE)
    with pytest.raises(TransferFailed, match="another part came") as caught:
        pulling.run(control=Control(connections=1))
    assert caught.value.hint == "run the same command again: it goes on where it stopped"
    assert sum(asked.fault is Kind.WRONG_RANGE for asked in pulling.hub.asked) == 8


@pytest.mark.parametrize("kind", [Kind.LOOP, Kind.FORBIDDEN])
def test_a_refusal_on_the_way_is_not_taken_at_its_first_word(pulling: Pulling, kind: Kind) -> None:
    pulling.hub.plan = InContent(Fault(kind), Fault(kind), after=3)
    pulling.run()
    assert pulling.is_right()


def test_what_is_on_its_way_is_kept_when_another_connection_gives_up(pulling: Pulling) -> None:
    spoilt = 4 * CHUNK

    def spoil(asked: Asked) -> Fault | None:
        return Fault(Kind.WRONG_RANGE) if asked.range.startswith(f"bytes={spoilt}-") and not asked.leads_on else None

    pulling.hub.plan = spoil
    with pytest.raises(TransferFailed, match="another part came"):
        pulling.run()
    pulling.hub.plan = no_faults
    pulling.run()
    assert pulling.is_right()
    assert sum(asked.served for asked in pulling.hub.asked if asked.start != spoilt) == CONTENT_BYTES - CHUNK


def test_a_resumed_file_is_asked_for_in_parts_again_before_it_is_read_as_a_whole(pulling: Pulling) -> None:
    control = Control(bytes_per_second=8 * CHUNK, connections=1)
    with pytest.raises(TransferFailed, match="stopped"):
        pulling.run(None, control, stop_after(control, 3 * CHUNK))
    before = pulling.hub.served("m.gguf")
    pulling.hub.plan = InContent(Fault(Kind.WHOLE))
    pulling.run()
    assert pulling.is_right()
    assert pulling.hub.served("m.gguf") - before <= CONTENT_BYTES - 3 * CHUNK + CHUNK


def test_a_wait_is_told_with_its_reason(pulling: Pulling) -> None:
    pulling.hub.plan = InContent(Fault(Kind.BUSY, says="1"))
    pulling.run()
    (waiting,) = [progress for progress in pulling.heard if progress.stage is Stage.WAITING]
    host = pulling.hub.addresses["cdn"].removeprefix("http://")
    assert waiting.says == f"{host} asks to wait: trying again in 1 s"


def test_progress_ends_with_all_of_it(pulling: Pulling) -> None:
    pulling.run()
    fetching = [progress for progress in pulling.heard if progress.stage is Stage.FETCHING]
    assert [progress.done for progress in fetching] == sorted(progress.done for progress in fetching)
    assert (fetching[-1].done, fetching[-1].total) == (CONTENT_BYTES, CONTENT_BYTES)
    assert Stage.CHECKING in pulling.stages()


def test_a_file_that_is_there_is_not_fetched_again(pulling: Pulling) -> None:
    first = pulling.run()
    before = len(pulling.hub.asked)
    assert pulling.run() == first
    assert len(pulling.hub.asked) == before
    assert pulling.run(pulling.plain()) == first  # nobody says what it is to be: fetched, and found to be the same
    assert pulling.is_right()


@pytest.mark.parametrize("kind", WANTED)
@pytest.mark.parametrize("content", [b"something else", bytes(CONTENT_BYTES)], ids=["shorter", "as long"])
def test_another_file_of_that_name_is_never_replaced(pulling: Pulling, kind: str, content: bytes) -> None:
    pulling.folder.mkdir()
    pulling.path.write_bytes(content)
    with pytest.raises(UsageError, match="is another file") as caught:
        pulling.run(WANTED[kind](pulling))
    assert pulling.path.read_bytes() == content
    assert caught.value.hint == "move it away, and run the command again"


def test_two_at_once_do_not_disturb_each_other(pulling: Pulling) -> None:
    async def run() -> list[object]:
        tasks = [pulling.fetch(), pulling.fetch()]
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    outcomes = asyncio.run(run())
    assert sum(isinstance(outcome, UsageError) for outcome in outcomes) == 1
    assert pulling.is_right()


def test_a_complete_part_file_needs_no_network(pulling: Pulling) -> None:
    class Killed(BaseException):
        """In place of a kill right before the end."""

    def die(progress: Progress) -> None:
        if progress.stage is Stage.CHECKING:
            raise Killed

    with pytest.raises(Killed):
        pulling.run(tell=die)
    before = len(pulling.hub.asked)
    pulling.run()
    assert len(pulling.hub.asked) == before
    assert pulling.is_right()


def test_a_folder_that_cannot_be_written_to_is_named(pulling: Pulling, tmp_path: Path) -> None:
    (tmp_path / "models").write_bytes(b"a file")
    with pytest.raises(UsageError, match="cannot write to"):
        pulling.run()


def test_a_disk_without_room_is_refused_before_a_byte_is_written(pulling: Pulling) -> None:
    free = os.statvfs(pulling.folder.parent)
    with pytest.raises(UsageError, match="not enough room"):
        asyncio.run(pulling.fetch(reserve=free.f_bavail * free.f_frsize))
    assert list(pulling.folder.iterdir()) == []


def test_hidden_files_of_a_download_are_no_models(pulling: Pulling) -> None:
    control = Control(bytes_per_second=8 * CHUNK, connections=1)
    with pytest.raises(TransferFailed, match="stopped"):
        pulling.run(None, control, stop_after(control, CHUNK))
    assert {path.suffix for path in pulling.folder.iterdir()} == {".part", ".journal"}
    assert b"signature" not in pulling.journal.read_bytes()
