"""Makes the text that builds are calibrated and measured with: nanolocal/compress/measuring/data/calibration.jsonl.xz.

    scripts/make_calibration.py [--data FOLDER]

FOLDER holds the packed extracts that are listed in nanolocal/compress/measuring/data/SOURCES.md; code is this project's
own, of one commit. Documents are chosen by the hash of their text, so the same extracts give the same file to the byte.
"""

import argparse
import hashlib
import json
import lzma
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "nanolocal/compress/measuring/data/calibration.jsonl.xz"
CODE_COMMIT = "cd38a04e2ee85b86aa13713c798fa397d80fc86b"
LONGEST, SHORTEST = 3500, 150
"""Letters of a document: a longer one is cut behind a paragraph, a shorter one left out."""
HELD_OUT_OF = 3
"""Every so many documents of a kind is held out."""
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]


@dataclass(frozen=True, slots=True)
class Kind:
    """Where documents of a kind come from, and how many letters of them are taken."""

    name: str
    extracts: tuple[str, ...]
    letters: int


KINDS = (
    Kind("encyclopedia", ("wiki_simple",), 105_000),
    Kind("stories", ("stories_gutenberg",), 90_000),
    Kind("textbook", ("edu_openstax",), 90_000),
    Kind("chat", ("chat_dolly", "chat_oasst_en100"), 110_000),
    Kind("maths", ("chat_gsm8k",), 50_000),
    Kind("commands", ("help_tldr",), 45_000),
)
CODE = Kind("code", (), 60_000)


@dataclass(frozen=True, slots=True)
class Document:
    """One text, where it is from, and whether builds are measured with it rather than calibrated."""

    kind: str
    source: str
    text: str
    held_out: bool = False

    @property
    def digest(self) -> str:
        """What documents are ordered by."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def records(data: Path, extract: str) -> Iterator[Document]:
    """All documents of an extract that are long enough."""
    with lzma.open(data / f"{extract}.jsonl.xz", "rt", encoding="utf-8") as file:
        for number, line in enumerate(file):
            record = json.loads(line)
            turns = [f"{turn['role'].capitalize()}: {turn['content']}" for turn in record.get("messages", ())]
            text = cut(record.get("text") or "\n\n".join(turns))
            named = [str(record[key]) for key in ("src", "title") if record.get(key)]
            if len(text) >= SHORTEST and readable(text):
                yield Document("", f"{extract}:{number} {' '.join(named)}".strip(), text)


def readable(text: str) -> bool:
    """Whether it is plain text: no syl-la-bles, no markup."""
    words = text.split()
    hyphens = sum("-" in word for word in words)
    return "<div" not in text and hyphens * 12 < len(words)


def cut(text: str) -> str:
    """At most ``LONGEST`` letters, up to the end of a paragraph or else of a sentence."""
    text = text.strip()
    if len(text) <= LONGEST:
        return text
    for end in ("\n\n", ". ", "\n"):
        place = text.rfind(end, SHORTEST, LONGEST)
        if place > 0:
            return text[: place + 1].strip()
    return ""


def code() -> Iterator[Document]:
    """Modules of this project, as they were at ``CODE_COMMIT``, in pieces."""
    listed = git("ls-tree", "-r", "--name-only", CODE_COMMIT, "nanolocal", "scripts").splitlines()
    for path in listed:
        if path.endswith(".py"):
            whole = git("show", f"{CODE_COMMIT}:{path}")
            text = whole if len(whole) <= LONGEST else whole[: whole.rfind("\n\n\n", 0, LONGEST)]
            if len(text) >= 4 * SHORTEST:
                yield Document("", f"nanolocal:{path}", text.strip())


def git(*arguments: str) -> str:
    """What git says."""
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True).stdout


def chosen(kind: Kind, documents: list[Document]) -> list[Document]:
    """The first of ``documents`` in the order of their hashes, up to ``kind.letters``."""
    taken: list[Document] = []
    letters = 0
    for document in sorted(documents, key=lambda each: each.digest):
        if letters >= kind.letters:
            break
        letters += len(document.text)
        taken.append(Document(kind.name, document.source, document.text, len(taken) % HELD_OUT_OF == HELD_OUT_OF - 1))
    return taken


def main() -> int:
    """Write the file and say what is in it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/text")
    data = parser.parse_args().data
    groups = [(kind, [each for name in kind.extracts for each in records(data, name)]) for kind in KINDS]
    groups.append((CODE, list(code())))
    lines: list[str] = []
    for kind, documents in groups:
        taken = chosen(kind, documents)
        letters = sum(len(each.text) for each in taken)
        held = sum(each.held_out for each in taken)
        sys.stdout.write(f"{kind.name:13} {len(taken):4} documents, {held:3} held out, {letters:7,} letters\n")
        lines += [json.dumps(asdict(each), ensure_ascii=False, sort_keys=True) for each in taken]
    raw = ("\n".join(lines) + "\n").encode()
    packed = lzma.compress(raw, format=lzma.FORMAT_XZ, filters=FILTERS)
    OUT.write_bytes(packed)
    sys.stdout.write(f"{len(raw):,} bytes, {len(packed):,} packed, sha256 {hashlib.sha256(packed).hexdigest()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
