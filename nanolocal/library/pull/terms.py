"""Under which terms a model may be used, as far as its makers say it."""

from dataclasses import dataclass

_FREE = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc-by-2.0",
    "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0",
    "cdla-sharing-1.0", "ecl-2.0", "epl-2.0", "eupl-1.1", "eupl-1.2", "gpl", "gpl-2.0", "gpl-3.0", "isc", "lgpl",
    "lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0", "ms-pl", "ncsa", "odc-by", "ofl-1.1", "osl-3.0", "pddl", "postgresql",
    "unlicense", "wtfpl", "zlib",
})  # fmt: skip
"""Licences, as the hub writes them, that allow every use to everybody."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The licence, where it can be read, and how access is asked for on the hub: ``auto``, ``manual`` or not at all."""

    licence: str = ""
    link: str = ""
    gated: str = ""

    @property
    def need_consent(self) -> bool:
        """Whether they have conditions that the user has to agree to. One that nobody tells has none that are known."""
        return bool(self.gated) or (bool(self.licence) and self.licence.lower() not in _FREE)

    @property
    def shown(self) -> str:
        """In one line."""
        name = self.licence or "its makers name none"
        return f"{name}, {self.link}" if self.link else name
