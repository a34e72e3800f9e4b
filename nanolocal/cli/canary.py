"""The canary run: made-up words go through every feature of the real program, and are then looked for on the disk.

It happens in a scratch home beside the vault, with a vault of its own, and touches nothing of the user's.
"""

import os
import secrets
import shutil
import signal
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from nanolocal.chat.routes import Build, Kind
from nanolocal.checks import Check, State
from nanolocal.cli.lookout import Lookout, Place, places_to_look
from nanolocal.errors import EngineFailed, NanolocalError
from nanolocal.paths import Paths, make_private
from nanolocal.vault.files import exclusive
from nanolocal.vault.scan import written

SCRATCH = "verify-scratch"
_LOOK_EVERY_S = 0.5
_REPORT = "if no other program copied it there, this is a fault of nanolocal: please report it"


class Trial:
    """One canary run. Each feature takes words from ``word``, uses them, and ``look`` finds those that leaked."""

    def __init__(self, home: Path, lookout: Lookout, smallest: Mapping[Kind, Build]) -> None:
        self.home = home
        self.smallest = smallest
        self.stem = "canary" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))
        self._lookout = lookout
        self._words: dict[str, str] = {}

    def meaning(self, word: str) -> str:
        """What ``word`` was made for."""
        return self._words.get(word, "hidden word")

    @property
    def used(self) -> Sequence[str]:
        """What words were made for."""
        return list(self._words.values())

    def word(self, what: str) -> str:
        """A word for ``what``, such as the title; all words of a run begin alike, so that one search finds any."""
        made = self.stem + "".join(letter for letter in what if letter.isalpha())
        self._words[made] = what
        return made

    def run(self, *args: str, text: str = "", attached: str = "") -> None:
        """Run the program on the scratch home as a user would, looking for traces meanwhile; raises ``EngineFailed``.

        ``attached`` is given to it as a file that never lies on a disk.
        """
        reading, writing = os.pipe()
        os.write(writing, attached.encode())
        os.close(writing)
        files = ("--attach", f"/dev/fd/{reading}") if attached else ()
        command = (sys.executable, "-P", "-m", "nanolocal", "--home", str(self.home), *args, *files)
        own = {name: value for name, value in os.environ.items() if not name.startswith("NANOLOCAL_")}
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=own | {"NANOLOCAL_PASSPHRASE": self.word("passphrase")},
            pass_fds=(reading,),
            start_new_session=True,
        )
        try:
            os.close(reading)
            said = self._watch(child, text.encode())
        finally:
            child.kill()
            child.wait()
        if child.returncode:
            reason = said.decode("utf-8", "replace").partition("\n")[0].removeprefix("nanolocal: error: ")
            raise EngineFailed(reason or f"it ended with code {child.returncode}")

    def look(self) -> None:
        """Look at the scratch home and the temporary files now."""
        self._lookout.look_nearby(self.stem, list(self._words))

    def look_everywhere(self) -> None:
        """Look at every place now."""
        self._lookout.look_everywhere(self.stem, list(self._words))

    def _watch(self, child: "subprocess.Popen[bytes]", text: bytes) -> bytes:
        given: bytes | None = text
        pause = _LOOK_EVERY_S
        while True:
            try:
                return child.communicate(given, timeout=pause)[1]
            except subprocess.TimeoutExpired:
                given, started = None, time.monotonic()
                self.look()
                pause = max(_LOOK_EVERY_S, 4 * (time.monotonic() - started))


Feature = tuple[str, Callable[[Trial], None]]
"""What it is called in the report, and what it does with the program."""


def run(
    paths: Paths,
    builds: Sequence[Build],
    show: Callable[[str], None],
    features: Sequence[Feature],
    places: Sequence[Place] | None = None,
) -> list[Check]:
    """Try every feature and say what was found; ``show`` is told what happens. The scratch home is gone afterwards.

    ``places`` are looked at beside the scratch home: by default wherever programs of this user write.
    """
    smallest = {build.kind: build for build in sorted(builds, key=lambda build: -build.size_bytes)}
    with _scratch_home(paths) as home:
        lookout = Lookout(home, places_to_look(paths) if places is None else places)
        trial = Trial(home, lookout, smallest)
        show("hiding a word, and looking for it ...")
        checks = [_self_test(trial)]
        used: list[str] = []
        for name, feature in features:
            show(f"trying {name} ...")
            before = len(trial.used)
            try:
                feature(trial)
                used += trial.used[before:]
            except NanolocalError as error:
                checks.append(Check("left_out", State.SKIPPED, f"{name} was not tried: {error.message}"))
            trial.look()
        show("reading every file that changed meanwhile ...")
        trial.look_everywhere()
        says = f"{len(used)} made-up word{'' if len(used) == 1 else 's'} went through the program, as {', '.join(used)}"
        checks.append(Check("tried", State.OK, says) if used else Check("tried", State.SKIPPED, "nothing was tried"))
        return checks + [_said(place, lookout, trial) for place in lookout.places]


def _self_test(trial: Trial) -> Check:
    """Hide a word in the scratch home in each way of writing, one after the other: a blind search proves nothing."""
    planted = trial.home / "planted"
    ways = written(f"The word is {trial.stem}, and that is all.")
    blind = []
    for way, data in ways.items():
        planted.write_bytes(data)
        probe = Lookout(trial.home, ())
        probe.look_nearby(trial.stem, [trial.stem])
        if not probe.found[probe.places[0]]:
            blind.append(way)
        planted.unlink()
    if blind:
        says = f"the search for traces does not see {', '.join(blind)}"
        return Check("search_for_traces", State.WRONG, says, "this is a fault of nanolocal: please report it")
    says = f"the search for traces works: it found a word hidden in {len(ways)} ways"
    return Check("search_for_traces", State.OK, says)


def _said(place: Place, lookout: Lookout, trial: Trial) -> Check:
    found = lookout.found[place]
    if not found:
        return Check(place.id, State.OK, f"no trace in {place.name}: {len(lookout.read[place])} new files read")
    first = found[0]
    more = f", and in {len(found) - 1} more ways or places" if len(found) > 1 else ""
    says = f"the {trial.meaning(first.word)} can be read in {first.path} ({first.form}){more}"
    return Check(place.id, State.WRONG, says, _REPORT)


@contextmanager
def _scratch_home(paths: Paths) -> Iterator[Path]:
    """A directory on the vault's disk that is gone after the block; one that a killed run left goes first."""
    with exclusive(make_private(paths.runtime) / "verify.lock"), _ends_like_ctrl_c():
        home = make_private(paths.data) / SCRATCH
        if home.exists():
            shutil.rmtree(home)
        home.mkdir(mode=0o700)
        try:
            yield home
        finally:
            shutil.rmtree(home)


@contextmanager
def _ends_like_ctrl_c() -> Iterator[None]:
    """Let a closed terminal and a polite kill end the block as Ctrl+C does, so that it tidies up."""
    ending = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in ending:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ending:
            signal.signal(number, signal.SIG_DFL)
