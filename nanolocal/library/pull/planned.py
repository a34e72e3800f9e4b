"""What is decided before anything is fetched."""

import hashlib
from dataclasses import dataclass

from nanolocal.library.pull.choosing import Shape
from nanolocal.library.pull.plan import Wanted
from nanolocal.library.pull.terms import Terms


def without_query(text: str) -> str:
    """``text`` as it is kept on the disk: of an address, what follows ``?`` may be a secret."""
    return text.partition("?")[0] if "://" in text else text


@dataclass(frozen=True, slots=True)
class Plan:
    """One build to fetch: ``files``, the first being what it is known by, into ``folder`` among the models.

    ``repo`` and ``commit`` are empty for a file that is on no hub. ``typed`` is what the user asked for.
    """

    typed: str
    endpoint: str
    repo: str
    commit: str
    shape: Shape
    label: str
    folder: str
    terms: Terms
    files: tuple[Wanted, ...]

    @property
    def key(self) -> str:
        """The same for the same files from the same place, however they were asked for, and under any signature."""
        said = "\n".join([self.endpoint, self.repo, self.commit, *(without_query(file.url) for file in self.files)])
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    @property
    def size(self) -> int | None:
        """Bytes of all files; ``None`` where one is not told."""
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if len(sizes) == len(self.files) else None
