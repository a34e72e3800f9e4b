"""Which build makes vectors of texts: the best that was made for it, else any that writes text."""

from collections.abc import Sequence

from nanolocal.chat.embedding import MOST_TOKENS
from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import NoBuildFits, UsageError
from nanolocal.routing.gates import memory_needed


def choose(builds: Sequence[Build], budget: int, name: str | None) -> Build:
    """The build called ``name``, or the best that fits into ``budget`` bytes.

    Of those made for vectors the one whose makers' scores are best, then the largest, is taken; of others the smallest,
    as none of them is good at it and all cost by their size. Raises ``UsageError`` for a name that no build has, or one
    that draws, ``NoBuildFits`` where there is none to take.
    """
    if name is not None:
        return _named(builds, name)
    usable = [build for build in builds if build.kind is not Kind.IMAGE and not build.needs and not build.set_aside]
    fitting = [build for build in usable if memory_needed(build, _context(build)) <= budget]
    made_for_it = [build for build in fitting if build.kind is Kind.EMBEDDING]
    if made_for_it:
        return max(made_for_it, key=lambda build: (build.strengths.get("*", 0.0), build.parameters, build.id))
    if fitting:
        return min(fitting, key=lambda build: (build.tiny, build.size_bytes, build.id))
    raise NoBuildFits(
        "no stored build that fits this machine makes vectors of texts", "nanolocal models catalogue --kind embedding"
    )


def _named(builds: Sequence[Build], name: str) -> Build:
    matches = [build for build in builds if build.answers_to(name)]
    if not matches:
        raise UsageError(f"no build is called {name!r}", "nanolocal models list")
    build = max(matches, key=lambda match: (match.id == name, match.size_bytes))
    if build.kind is Kind.IMAGE:
        raise UsageError(f"{build.id} draws pictures and reads no text", "name another build")
    if build.needs:
        raise NoBuildFits(f"{build.id} needs {build.needs}", "name another build")
    return build


def _context(build: Build) -> int:
    return min(build.context_length or MOST_TOKENS, MOST_TOKENS)
