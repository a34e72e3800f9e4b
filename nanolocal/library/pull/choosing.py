"""From the files of a repository to the builds in it, and which of them is meant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nanolocal.chat.amounts import format_bytes
from nanolocal.errors import NoBuildFits, UsageError
from nanolocal.library.fit.advice import Candidate, advise, for_picture_size, for_size

_MOST_LISTED = 30


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository: its path there, its size in bytes and its SHA-256 where they are told."""

    path: str
    size: int | None = None
    sha256: str = ""

    @property
    def base(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]


class Shape(StrEnum):
    """What a build consists of."""

    GGUF = "gguf"
    PIPELINE = "pipeline"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class Option:
    """A build of a repository: all its files, the first one being what it is known by, and ``label``, its quantization.

    ``companions`` are files that it needs to see pictures. ``lacks`` says what is missing, where it is not whole.
    """

    shape: Shape
    label: str
    files: tuple[RemoteFile, ...]
    companions: tuple[RemoteFile, ...] = ()
    lacks: str = ""

    @property
    def name(self) -> str:
        """The path of its first file."""
        return self.files[0].path

    @property
    def size(self) -> int | None:
        """Bytes of all files, the companions too; ``None`` where one is not told."""
        sizes = [file.size for file in (*self.files, *self.companions)]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def shown(self) -> str:
        """As it is listed: ``Q4_K_M 2.5 GB``."""
        return f"{self.label} {format_bytes(self.size)}" if self.size is not None else self.label


Pick = Callable[[Sequence[Option]], Option]
"""Which of several builds is taken when the user named none; raises ``NoBuildFits``."""


def best_that_fits(budget: int, bandwidth: float) -> Pick:
    """A pick of the finest build that fits into ``budget`` bytes of memory and is quick enough; see ``fit.advice``.

    ``bandwidth`` is in bytes a second.
    """

    def pick(options: Sequence[Option]) -> Option:
        judged = advise([weighed(each, each.name) for each in options], budget, bandwidth)
        best = next((verdict.label for verdict in judged if verdict.is_best), None)
        if best is None:
            least = min(options, key=lambda option: option.size or 0)
            raise NoBuildFits(
                f"none of these builds fits into the {format_bytes(budget)} of memory that are free here",
                f"name one to fetch it all the same, the smallest is {least.shown}",
            )
        return next(option for option in options if option.name == best)

    return pick


def weighed(option: Option, label: str, trained: int = 0, active_share: float = 1.0) -> Candidate:
    """``option`` as far as the sizes of its files tell what it takes, called ``label``; see ``fit.advice.for_size``."""
    if option.shape is Shape.GGUF:
        return for_size(label, option.label, option.size or 0, trained, active_share)
    return for_picture_size(label, option.label, option.size or 0)


def choose(options: Sequence[Option], quant: str, file: str, pick: Pick) -> Option:
    """The build that ``quant`` or ``file`` name, else the one that ``pick`` takes; ``UsageError`` lists them all."""
    if file or quant:
        return named(options, quant, file)
    whole = usable(options)
    return whole[0] if len(whole) == 1 or whole[0].shape is Shape.PIPELINE else pick(whole)


def named(options: Sequence[Option], quant: str, file: str) -> Option:
    """The build with that ``file``, else with that ``quant``; raises ``UsageError`` listing all where there is none."""
    if file:
        return _whole(_only([option for option in options if _has(option, file)], f"no file {file!r}", options))
    return _whole(_only(_labelled(options, quant), f"no build {quant!r}", options))


def usable(options: Sequence[Option]) -> list[Option]:
    """Those that are whole and run here; raises ``UsageError`` where none is."""
    whole = [option for option in options if not option.lacks and option.shape is not Shape.CHECKPOINT]
    if not whole:
        raise UsageError("there is no whole build to choose from", _listed(options))
    return whole


def _labelled(options: Sequence[Option], quant: str) -> list[Option]:
    wanted = _plain(quant)
    return [option for option in options if wanted in (_plain(option.label), _plain(option.files[0].base))]


def _plain(label: str) -> str:
    """``fp16`` and ``F16`` are one."""
    lower = label.lower().removesuffix(".gguf")
    return f"f{lower[2:]}" if lower.startswith("fp") else lower.removeprefix("ud-")


def _has(option: Option, file: str) -> bool:
    return any(file in (each.path, each.base) for each in option.files)


def _only(found: list[Option], what: str, options: Sequence[Option]) -> Option:
    if not found:
        raise UsageError(f"there is {what} in this repository", _listed(options))
    if len(found) > 1:
        names = ", ".join(option.name for option in found[:_MOST_LISTED])
        raise UsageError(f"{len(found)} builds are called that", f"say which with --file: {names}")
    return found[0]


def _whole(option: Option) -> Option:
    if option.lacks:
        raise UsageError(f"{option.name} is not whole in its repository: {option.lacks}", "take another build")
    return option


def _listed(options: Sequence[Option]) -> str:
    if not options:
        return "it holds neither GGUF files nor a diffusers pipeline"
    by_size = sorted(options, key=lambda option: option.size or 0)
    more = f" and {len(by_size) - _MOST_LISTED} more" if len(by_size) > _MOST_LISTED else ""
    return f"there are {', '.join(option.shown for option in by_size[:_MOST_LISTED])}{more}"
