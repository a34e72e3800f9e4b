"""The vault: one directory, one key hierarchy, one database, one set of blobs.

    vault.hdr   how to unlock it (header.py)      vault.db   conversations, search, ledger (SQLCipher)
    vault.key   only without a passphrase         blobs/     attachments and pictures (NLB1)
    snapshots/  earlier states of vault.db         prompts/   what engines have read (promptcache.py)

The header is written last, so a vault exists whole or not at all; ``vault.lock`` lets one process at a time change it.
After every commit the header learns how far the database has come, so that commits which vanish are noticed; where
somebody waits for an answer, while its engine begins.
"""

import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from nanolocal.checks import Check, State
from nanolocal.errors import Damaged, NanolocalError, UsageError
from nanolocal.vault import checks, contents, keychain, promptcache, snapshots
from nanolocal.vault.blobs import Blobs
from nanolocal.vault.database import Database, Migrations, Unreadable
from nanolocal.vault.files import (
    OpenMark,
    check_local,
    check_usable_directory,
    exclusive,
    make_private_directory,
    shred,
    sync_directory,
    write_durably,
)
from nanolocal.vault.header import Anchor, Header, SlotKind, encode
from nanolocal.vault.keyholder import KeyHolder, check_new_passphrase
from nanolocal.vault.keys import KEY_BYTES, DatabaseKey, Stretching, recovery_code
from nanolocal.vault.layout import (
    BACKUP,
    COPYING,
    DATABASE,
    HEADER,
    KEYFILE,
    SUSPECT,
    adopt_database,
    discard,
    has_log,
    read_header,
    starts_with,
)
from nanolocal.vault.mending import NOTICE
from nanolocal.vault.snapshots import Keeper, Snapshot
from nanolocal.vault.unlock import (
    DataKeys,
    Door,
    mac_key,
    new_database_key,
    new_recovery,
    sealed_keys,
    unlock,
    unlock_by_passphrase,
    unsealed_keys,
)


class VaultState(StrEnum):
    """What is needed to open the vault of a directory."""

    ABSENT = "absent"
    PASSPHRASE = "passphrase"  # noqa: S105 - a state, not a secret
    KEYFILE = "keyfile"
    KEYRING = "keyring"


class Vault(KeyHolder):
    """An unlocked vault. ``database`` and ``blobs`` work until ``close``."""

    def __init__(self, directory: Path, master: bytearray, header: Header, migrations: Migrations) -> None:
        super().__init__(directory, master, header.vault_id)
        self.kept = header.anchor.commit
        self._following = ThreadPoolExecutor(1, "vault")
        self._opened = OpenMark(directory / "vault.open")
        with ExitStack() as undo:
            undo.callback(self._opened.close)
            keys = self._settle_keys(header)
            if has_log(directory / DATABASE):
                self._check_progress(Database.peek(directory / DATABASE, keys.database))
            self.database = Database.open(directory / DATABASE, keys.database, migrations)
            undo.callback(self.database.close)
            self._check_identity()
            self._check_progress(self.database.progress())
            self._check_suspect()
            self.blobs = Blobs(directory / "blobs", keys.blob)
            undo.pop_all()
        self._keeper = Keeper(self.database, directory / "snapshots")

    @staticmethod
    def state(directory: Path) -> VaultState:
        """Look at a directory without opening anything; raises ``Damaged`` if parts of a vault are missing."""
        if not (directory / HEADER).exists():
            if (directory / BACKUP).exists() or (directory / DATABASE).exists():
                raise Damaged("the vault's header vault.hdr is missing", "put vault.hdr.bak in its place")
            return VaultState.ABSENT
        header = read_header(directory)
        doors = (VaultState.PASSPHRASE, VaultState.KEYRING)
        return next((state for state in doors if header.slot(SlotKind(state))), VaultState.KEYFILE)

    @classmethod
    def create(
        cls, directory: Path, passphrase: str | None, migrations: Migrations, stretching: Stretching | None = None
    ) -> "Vault":
        """Make a vault; ``None`` declines a passphrase, and a key file beside the data opens it from then on."""
        check_new_passphrase(passphrase)
        make_private_directory(directory)
        with exclusive(directory / "vault.lock"):
            if cls.state(directory) is not VaultState.ABSENT:
                raise UsageError(f"there is already a vault in {directory}", "open it, or choose another --home")
            master = bytearray(secrets.token_bytes(KEY_BYTES))
            vault_id = secrets.token_hex(16)
            slot = Door(passphrase, stretching).slot(directory, vault_id, master)
            keys = DataKeys.new()
            header = sealed_keys(Header(vault_id=vault_id, epoch=1, slots=(slot,), keys={}), master, keys)
            _make_database(directory, vault_id, keys.database, migrations)
            raw = encode(header, mac_key(master))
            write_durably(directory / HEADER, raw)
            adopt_database(directory)
            write_durably(directory / BACKUP, raw)
        return cls.started(directory, master, header, migrations)

    @classmethod
    def open(cls, directory: Path, secret: str | None, migrations: Migrations) -> "Vault":
        """Unlock a vault with its passphrase or recovery code; ``None`` for a key file.

        Raises ``VaultLocked``, ``Damaged`` (``Unreadable`` for a broken database) or ``UsageError``; then nothing was
        changed. See ``repair.open_vault``.
        """
        header, master = cls.unlocked(directory, secret)
        return cls.started(directory, master, header, migrations)

    @classmethod
    def started(cls, directory: Path, master: bytearray, header: Header, migrations: Migrations) -> "Vault":
        """A vault whose header is unlocked, opened and ready to be used."""
        vault = cls(directory, master, header, migrations)
        try:
            vault._renew_backup()
            vault._begin()
        except BaseException:
            vault.close()
            raise
        return vault

    @staticmethod
    def erase(directory: Path) -> None:
        """Destroy a vault for good: its keys first, so that whatever is left on the disk cannot be read."""
        check_usable_directory(directory)
        with exclusive(directory / "vault.lock"):
            mark = OpenMark(directory / "vault.open")
            try:
                with mark.alone():
                    _forget_keyring(directory)
                    for name in (HEADER, BACKUP, KEYFILE):
                        shred(directory / name)
                    for path in sorted(directory.rglob("*"), reverse=True):
                        path.rmdir() if path.is_dir() else path.unlink()
                    sync_directory(directory)
            finally:
                mark.close()

    @property
    def notices(self) -> list[str]:
        """What the user has to be told, until ``dismiss_notices``."""
        rows = self.database.execute("SELECT value FROM setting WHERE name = ?", (NOTICE,))
        return [str(row[0]) for row in rows]

    @staticmethod
    def has_recovery_code(directory: Path) -> bool:
        """Whether a recovery code opens the vault in ``directory``; without opening it."""
        absent = Vault.state(directory) is VaultState.ABSENT
        return not absent and read_header(directory).slot(SlotKind.RECOVERY) is not None

    def dismiss_notices(self) -> None:
        """The user has seen them."""
        with self.database.transaction() as tx:
            tx.execute("DELETE FROM setting WHERE name = ?", (NOTICE,))

    def snapshots(self) -> list[Snapshot]:
        """The copies of the database, the newest first."""
        return snapshots.listed(self._directory / "snapshots")

    def keep_anchor(self, seq: int, head: str) -> None:
        """Move the ledger's anchor forward; an older ``seq`` than the header's is ignored."""

        def moved(header: Header) -> Header:
            anchor = header.anchor if seq <= header.anchor.seq else replace(header.anchor, seq=seq, head=head)
            return replace(header, anchor=_advanced(anchor, *self.database.newest))

        self._change(moved)
        self.kept = max(self.kept, self.database.newest[0])

    def keep(self, number: int, mark: str) -> None:
        """Note in the header that commit ``number`` is on disk; a header that stays behind is safe."""
        with suppress(OSError, NanolocalError):
            if self.kept < number:
                self._change(lambda header: replace(header, anchor=_advanced(header.anchor, number, mark)))
                self.kept = max(self.kept, number)

    def soon(self, action: Callable[[], None]) -> None:
        """Run ``action`` on a thread that ``close`` waits for, and here once that has ended."""
        try:
            self._following.submit(action)
        except RuntimeError:
            action()

    def suspect(self) -> None:
        """A page could not be read: the next unlock looks at every page."""
        with suppress(OSError):
            (self._directory / SUSPECT).touch(0o600)

    def rotate(self) -> None:
        """Give the database a new key and replace the snapshots, so that nothing deleted can be read from old blocks.

        Raises ``UsageError`` while another process has the vault open. A kill at any moment leaves a vault that opens.
        """
        self._keeper.wait()
        with self._opened.alone(), self._alone():
            self._rotate(self._genuine_header())

    def rekey(self, passphrase: str | None, stretching: Stretching | None = None) -> str | None:
        """A new master key, a new database key, and a new recovery code (returned) if there was one.

        Whoever holds an old header and an old passphrase can no longer read what is stored. ``passphrase`` is the
        present one, ``None`` with a key file. Raises ``VaultLocked`` when it is wrong, ``UsageError`` while another
        process has the vault open.
        """
        self._keeper.wait()
        with self._opened.alone(), self._alone():
            header = self._genuine_header()
            if (slot := header.slot(SlotKind.PASSPHRASE)) is not None:
                unlock_by_passphrase(header, slot, passphrase)
            keys = unsealed_keys(header, self._master)
            master = bytearray(secrets.token_bytes(KEY_BYTES))
            keyring = header.slot(SlotKind.KEYRING)
            door = Door(passphrase if slot else None, stretching, keyring.backend if keyring else None)
            recovery, secret = new_recovery(header.vault_id, master)
            day_by_day = door.slot(self._directory, header.vault_id, master)
            slots = (day_by_day, recovery) if header.slot(SlotKind.RECOVERY) else (day_by_day,)
            self._known = None
            self._master[:] = master
            renewed = sealed_keys(replace(header, slots=slots, epoch=header.epoch + 1), master, keys)
            self._write(renewed)
            self._rotate(renewed)
        return recovery_code(secret) if len(slots) > 1 else None

    def verify(self) -> list[str]:
        """Read everything and say what is wrong; an empty list when all is whole."""
        return [check.says for check in self.checks() if check.state is State.WRONG]

    def checks(self, tell: Callable[[str], None] = lambda _: None) -> Iterator[Check]:
        """Read everything, one check after the other; a broken database ends what needs it. ``tell`` hears how far."""
        yield checks.spare_header(self._directory, mac_key(self._master))
        tell("reading every page of the database")
        database = checks.pages(self.database)
        yield database
        if database.state is State.OK:
            yield checks.conversations(self.database)
            yield checks.files(self.database, self.blobs, tell)
            yield checks.search(self.database)
            yield self._progress_check()
        tell("reading the daily copies of the database")
        yield checks.copies(self.snapshots(), self.keys.database)

    def close(self) -> None:
        """Make a snapshot if one is due, close the database and forget the master key. Closing twice is no error."""
        try:
            self._keeper.finish()
        finally:
            try:
                self._following.shutdown()
                self.database.close()
            finally:
                self._opened.close()
                # A thread may be sealing the key under a new passphrase: wiped now, the vault would never open again.
                with self._master_in_use:
                    self._known = None
                    self._master[:] = bytes(len(self._master))

    @classmethod
    def unlocked(cls, directory: Path, secret: str | None) -> tuple[Header, bytearray]:
        """The header of a closed vault and its master key; raises ``VaultLocked``, ``Damaged`` or ``UsageError``."""
        check_local(directory)
        if directory.exists():
            check_usable_directory(directory)
        if cls.state(directory) is VaultState.ABSENT:
            raise UsageError(f"there is no vault in {directory}", "start nanolocal to make one")
        header = read_header(directory)
        master = unlock(directory, header, secret)
        if not (directory / DATABASE).exists():
            with exclusive(directory / "vault.lock"):
                adopt_database(directory)
        return header, master

    def _begin(self) -> None:
        """What follows once the vault is known to be whole."""
        if contents.recorded(self.database) is None:
            with self.database.transaction() as tx:
                contents.record(tx)
        self._sweep()
        self.database.witness = self
        self.keep(*self.database.progress()[:2])
        self._keeper.start()

    def _settle_keys(self, header: Header) -> DataKeys:
        """The data keys, with a key for signatures.

        Ends a change of the database's key that a kill interrupted, one way or the other.
        """
        keys = unsealed_keys(header, self._master)
        if keys.database_next is None and keys.device:
            return keys
        with self._alone():
            header = self._genuine_header()
            keys = unsealed_keys(header, self._master)
            if keys.database_next is None and keys.device:
                return keys
            settled = replace(keys, database_next=None).with_device()
            if keys.database_next is not None:
                if starts_with(self._directory / DATABASE, keys.database_next.salt):
                    settled = replace(settled, database=keys.database_next)
                    snapshots.remove_all(self._directory / "snapshots")
                discard(self._directory / "vault.db.next")
            self._write(sealed_keys(replace(header, epoch=header.epoch + 1), self._master, settled))
        return settled

    def _rotate(self, header: Header) -> None:
        keys = unsealed_keys(header, self._master)
        changing = replace(keys, database_next=new_database_key())
        self._write(sealed_keys(replace(header, epoch=header.epoch + 1), self._master, changing))
        assert changing.database_next is not None
        self.database.rekey(changing.database_next)
        snapshots.remove_all(self._directory / "snapshots")
        settled = replace(keys, database=changing.database_next)
        self._write(sealed_keys(replace(header, epoch=header.epoch + 2), self._master, settled))
        snapshots.make(self.database, self._directory / "snapshots", time.time(), alone=True)

    def _check_identity(self) -> None:
        if self.database.execute("SELECT value FROM meta WHERE name = 'vault_id'") != [(self._vault_id,)]:
            raise Damaged("the database belongs to another vault", "nanolocal vault restore")

    def _check_progress(self, progress: tuple[int, str, int] | None) -> None:
        """Compare what the database holds with what the header, written after each commit, says it must hold."""
        if progress is None:
            return
        number, mark, anchored = progress
        anchor = self._genuine_header().anchor
        if anchored > anchor.commit:
            raise Damaged(
                "an older vault.hdr was put back", "put the newest one in its place, or: nanolocal vault restore"
            )
        if number < self.kept:
            many = self.kept - number
            changes = "1 change that was" if many == 1 else f"{many} changes that were"
            raise Damaged(
                f"the database lacks {changes} stored: an older copy was put back, or its log was damaged",
                "nanolocal vault restore",
            )
        if number == anchor.commit and anchor.mark and mark != anchor.mark:
            raise Damaged("the database is not the one that was last stored", "nanolocal vault restore")

    def _progress_check(self) -> Check:
        try:
            self._check_progress(self.database.progress())
        except Damaged as error:
            return Check("anchor", State.WRONG, error.message, checks.REPAIR)
        return Check("anchor", State.OK, "nothing stored has vanished, and no older copy was put back")

    def _check_suspect(self) -> None:
        """After a page could not be read, read them all."""
        mark = self._directory / SUSPECT
        if mark.exists():
            if self.database.problems():
                raise Unreadable("the vault's database is damaged", "nanolocal vault restore")
            mark.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what a crash left: blobs without a message, half a snapshot, and copies that no backup is working on.

        The write lock is held meanwhile: nobody is between writing a blob and storing its message.
        """
        with self.database.transaction() as tx:
            self.blobs.keep_only({row[0] for row in tx.execute("SELECT blob_id FROM attachment")})
        promptcache.sweep(self.database)
        if copies := list(self._directory.glob(f"{COPYING}*")):
            with suppress(UsageError), self._opened.alone():
                for path in copies:
                    shutil.rmtree(path, ignore_errors=True)


def _advanced(anchor: Anchor, number: int, mark: str) -> Anchor:
    return anchor if number <= anchor.commit else replace(anchor, commit=number, mark=mark)


def _forget_keyring(directory: Path) -> None:
    """Remove the key from the system's keyring; a vault whose header is broken can be erased all the same."""
    with suppress(NanolocalError):
        header = read_header(directory)
        if (slot := header.slot(SlotKind.KEYRING)) is not None:
            keychain.forget(header.vault_id, slot.backend)


def _make_database(directory: Path, vault_id: str, key: DatabaseKey, migrations: Migrations) -> None:
    """Make the database under a passing name; it takes its own once the header that opens it is on disk."""
    discard(directory / "vault.db.new")
    database = Database.create(directory / "vault.db.new", key, migrations)
    try:
        with database.transaction() as tx:
            tx.execute("INSERT INTO meta (name, value) VALUES ('vault_id', ?)", (vault_id,))
    finally:
        database.close()
