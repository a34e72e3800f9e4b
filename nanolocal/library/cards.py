"""``card.json``: what the makers of a build say about it, next to its files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.library.jsonfiles import read_object


@dataclass(frozen=True, slots=True)
class Card:
    """The parts of a card that nanolocal acts on. ``hashes`` maps a file's path inside the folder to its SHA-256.

    ``is_pulled`` is true where the card says from where its files were pulled, so that they can be repaired from there.
    """

    folder: Path
    id: str = ""
    name: str = ""
    quantization: str = ""
    licence: str = ""
    tiny: bool = False
    defaults: Mapping[str, float] = field(default_factory=dict)
    quality: Mapping[str, float] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    is_pulled: bool = False

    @classmethod
    def beside(cls, path: Path) -> "Card":
        """The card in the folder of ``path``, an empty one when there is none; raises ``Damaged`` for a broken one."""
        folder = path.parent
        try:
            table = read_object(folder / "card.json")
        except FileNotFoundError:
            return cls(folder)
        files = table.get("files")
        return cls(
            folder=folder,
            id=_text(table, "id"),
            name=_text(table, "name"),
            quantization=_text(table, "quantization"),
            licence=_text(table, "licence"),
            tiny=table.get("tiny") is True,
            defaults=_numbers(table.get("defaults")),
            quality=_numbers(table.get("quality")),
            hashes={_text(f, "path"): _text(f, "sha256") for f in files if isinstance(f, dict)}
            if isinstance(files, list)
            else {},
            is_pulled=isinstance(table.get("pulled"), dict),
        )

    def check(self, path: Path, sha256: str) -> None:
        """Raise ``Damaged`` when the card knows ``path`` by another hash."""
        expected = self.hashes.get(path.relative_to(self.folder).as_posix())
        if expected and not sha256.startswith("part:") and expected != sha256:
            raise Damaged(f"{path.name} is not the file that its card describes", "get the file again")


def _text(table: Mapping[str, object], key: str) -> str:
    value = table.get(key)
    return value if isinstance(value, str) else ""


def _numbers(value: object) -> dict[str, float]:
    if not isinstance(value, dict):
        return {}
    return {str(k): float(v) for k, v in value.items() if isinstance(v, int | float) and not isinstance(v, bool)}
