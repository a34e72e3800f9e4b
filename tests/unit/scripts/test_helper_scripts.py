"""The reference is made from texts byte by byte alike, and the fixed questions are answered rightly."""

import json
import lzma
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import eval_helpers  # noqa: E402
import make_reference  # noqa: E402

HOUSE = "A house is a building made for people to live in. It has walls and a roof."
HOME: dict[str, object] = {
    "words": ["house", "home"],
    "pos": "noun",
    "def": "a building with walls and a roof",
    "ex": ["his house"],
}
TEXTS: dict[str, list[dict[str, object]]] = {
    "wiki_simple": [
        {"title": "House", "text": f"House\n\n{HOUSE}\n\nMore."},
        {"title": "Tower", "text": "Tower\n\nThe Tower ( or ; ) is  tall. It has a height of and is old."},
        {"title": "Ann Lee", "text": "Ann Lee\n\nwas an English painter who lived in York. She was born in 1736."},
        {"title": "Gravity", "text": "Gravity\n\nSome physicists think so, but they are still unsure of all that."},
        {"title": "St. Ives", "text": "St. Ives\n\nSt. Ives is a town in Cornwall. It lies by the sea."},
    ],
    "dict_wordnet": [
        {"words": ["house"], "pos": "noun", "def": "play in which children take roles", "ex": [], "freq": 7},
        HOME,
    ],
    "facts_factbook": [
        {
            "file": "x/fr.json",
            "data": {
                "Government/Country name": {"conventional short form": {"text": "France"}},
                "Government/Capital": {"name": {"text": "<b>Paris</b>"}},
                "People and Society/Population": {"total": {"text": "68,512,806 (2025 est.)"}},
            },
        }
    ],
    "facts_elements": [
        {
            "name": "Iron", "symbol": "Fe", "number": 26, "atomic_mass": 55.8452, "category": "metal",
            "phase": "Solid", "summary": "Iron is a metal. It rusts. It is old.", "discovered_by": "5000 BC",
            "melt": 1811, "boil": 3134,
        }
    ],
}  # fmt: skip


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    for name, rows in TEXTS.items():
        with lzma.open(tmp_path / f"{name}.jsonl.xz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return tmp_path


def test_the_same_texts_make_the_same_bytes(texts: Path) -> None:
    for name in ("one", "two"):
        make_reference.make(texts, texts / name)
    files = {path.name for path in (texts / "one").iterdir()}
    assert files == {"reference.nlref", "card.json", "README.md"}
    assert all((texts / "one" / name).read_bytes() == (texts / "two" / name).read_bytes() for name in files)


def test_openings_are_whole_sentences_about_the_topic(texts: Path) -> None:
    found = {record.title: record.text for record in make_reference.topics(texts)}
    assert found == {
        "House": HOUSE,
        "Ann Lee": "Ann Lee was an English painter who lived in York. She was born in 1736.",
        "St. Ives": "St. Ives is a town in Cornwall. It lies by the sea.",
    }


def test_the_sense_nearest_to_the_encyclopedia_comes_first(texts: Path) -> None:
    (house,) = [record for record in make_reference.words(texts) if record.title == "house"]
    assert house.text.startswith("noun\x1ea building with walls and a roof\x1ehis house\x1ehome\x1f")


def test_fields_lose_their_markup(texts: Path) -> None:
    (france,) = [record for record in make_reference.countries(texts) if record.key == "c france"]
    assert france.text == "capital=Paris\x1fpopulation=68,512,806 (2025 est.)"


def test_the_fixed_questions_are_answered_and_the_others_left_alone() -> None:
    helpers = eval_helpers.toolbox()
    questions = list(eval_helpers.questions())
    answers = {each.text: helpers.answer(each.text) for each in questions}
    told = {text: "" if source is None else source.text for text, source in answers.items()}
    is_right = {each.text: any(right in told[each.text] for right in each.right) for each in questions}
    prompts = eval_helpers.left_alone()
    assert (len(questions) >= 100, len(prompts) >= 300) == (True, True)
    assert [text for text, right in is_right.items() if told[text] and not right] == []
    assert sum(is_right.values()) >= 0.95 * len(questions)
    assert [text for text in prompts if helpers.answer(text) is not None] == []
