"""What went wrong in a child, as the parent is told."""

from nanolocal.engines.protocol import Failed
from nanolocal.errors import NanolocalError


def failed(job: int, error: Exception) -> Failed:
    """``error`` as the end of ``job``: whatever a library raises, the parent gets one clear line."""
    match error:
        case NanolocalError():
            return Failed(job, type(error).__name__, error.message, error.hint)
        case MemoryError():
            return Failed(job, "OutOfMemory", "there is not enough memory", "choose a smaller build")
        case _:
            return Failed(job, "EngineFailed", f"{type(error).__name__}: {error}", "")
