"""What went wrong in a child, as the parent is told."""

from nanolocal.engines.protocol import Failed
from nanolocal.errors import NanolocalError


def is_of_memory(error: Exception) -> bool:
    """Whether memory was missing; torch says so in the words of a ``RuntimeError``."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in words or "can't allocate memory" in words


def first_line(error: Exception) -> str:
    """The sentence that it begins with; libraries go on for pages."""
    lines = (line.strip() for line in str(error).splitlines() if line.strip())
    return next(lines, type(error).__name__).partition(". ")[0]


def failed(job: int, error: Exception) -> Failed:
    """``error`` as the end of ``job``: whatever a library raises, the parent gets one clear line."""
    match error:
        case NanolocalError():
            return Failed(job, type(error).__name__, error.message, error.hint)
        case _ if is_of_memory(error):
            return Failed(job, "OutOfMemory", "there is not enough memory", "choose a smaller build")
        case _:
            return Failed(job, "EngineFailed", f"{type(error).__name__}: {error}", "")
