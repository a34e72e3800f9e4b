"""``card.json``: what the makers of a build say about it, next to its files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.library.jsonfiles import read_object

CARD = "card.json"
"""What it is called."""
REPORT = "compressed"
"""The key of what the compression lab measured of the build in the card's folder."""


@dataclass(frozen=True, slots=True)
class Card:
    """The parts of a card that nanolocal acts on. ``hashes`` maps a file's path inside the folder to its SHA-256.

    ``is_pulled`` is true where the card says from where its files were pulled, so that they can be repaired from there.
    ``retained`` is the share of the model's quality that the compression lab measured, 0 where it did not.
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
    retained: float = 0.0

    @classmethod
    def beside(cls, path: Path) -> "Card":
        """The card in the folder of ``path``, an empty one when there is none; raises ``Damaged`` for a broken one."""
        folder = path.parent
        try:
            table = read_object(folder / CARD)
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
            retained=_retained(_report(table, path)),
        )

    def check(self, path: Path, sha256: str) -> None:
        """Raise ``Damaged`` when the card knows ``path`` by another hash."""
        expected = self.hashes.get(path.relative_to(self.folder).as_posix())
        if expected and not sha256.startswith("part:") and expected != sha256:
            raise Damaged(f"{path.name} is not the file that its card describes", "get the file again")


def report_beside(path: Path) -> Mapping[str, object]:
    """What the compression lab says of the build at ``path``; empty where it was not made there."""
    try:
        return _report(read_object(path.parent / CARD), path)
    except (Damaged, OSError):
        return {}


def _report(table: Mapping[str, object], path: Path) -> Mapping[str, object]:
    report = table.get(REPORT)
    return report if isinstance(report, dict) and report.get("file") == path.name else {}


def _retained(report: Mapping[str, object]) -> float:
    value = report.get("retained")
    share = value.get("share") if isinstance(value, dict) else None
    return float(share) if isinstance(share, int | float) and 0.0 < share <= 1.0 else 0.0


def _text(table: Mapping[str, object], key: str) -> str:
    value = table.get(key)
    return value if isinstance(value, str) else ""


def _numbers(value: object) -> dict[str, float]:
    if not isinstance(value, dict):
        return {}
    return {str(k): float(v) for k, v in value.items() if isinstance(v, int | float) and not isinstance(v, bool)}
