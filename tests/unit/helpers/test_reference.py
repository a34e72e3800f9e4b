"""The file of the reference, what is found in it, and the one that ships."""

import hashlib
import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.chat.messages import Source
from nanolocal.errors import Damaged
from nanolocal.helpers.keys import BETWEEN, WITHIN, key_of, plain
from nanolocal.helpers.pack import Pack, Record, write_pack
from nanolocal.helpers.toolbox import Toolbox
from nanolocal.paths import starter_models

SHIPPED = starter_models() / "nanolocal-reference"
WORDS = st.text(st.characters(exclude_characters="\t\n\r\x1c\x1d\x1e\x85\u2028\u2029", exclude_categories=["Cs"]))
SENSE = WITHIN.join(("noun", "a small thing", "she saw the gizmo", "gadget, widget"))
RECORDS = (
    Record(key_of("t", "Moon"), "Moon", "The Moon is Earth's largest natural satellite."),
    Record(key_of("t", "Weather"), "Weather", "Weather is the change in the atmosphere."),
    Record(key_of("t", "Mercury (planet)"), "Mercury (planet)", "Mercury is the planet closest to the Sun."),
    Record(key_of("t", "Mercury (myth)"), "Mercury (myth)", "Mercury was a Roman god."),
    Record(key_of("t", "Ada Lovelace"), "Ada Lovelace", "Ada Lovelace (1815 - 1852) was an English mathematician."),
    Record(key_of("d", "gizmo"), "gizmo", BETWEEN.join((SENSE, SENSE))),
    Record(key_of("d", "docker"), "docker", WITHIN.join(("noun", "a laborer in a port", "", ""))),
    Record(key_of("d", "wrong"), "wrong", WITHIN.join(("adjective", "not correct", "", "incorrect"))),
    Record(key_of("c", "Freedonia"), "Freedonia", BETWEEN.join(("capital=Fredville", "population=1,000 (2024 est.)"))),
    Record(key_of("c", "Land of the Free"), "Freedonia", "=" + key_of("c", "Freedonia")),
    Record(key_of("k", "Fredville"), "Fredville", "Freedonia"),
    Record(key_of("e", "Iron"), "Iron", BETWEEN.join(("atomic number=26", "symbol=Fe", "discovered by=5000 BC"))),
    Record(key_of("s", "Fe"), "Iron", "=" + key_of("e", "Iron")),
)


@pytest.fixture(scope="module")
def helpers(tmp_path_factory: pytest.TempPathFactory) -> Toolbox:
    file = tmp_path_factory.mktemp("reference") / "small.nlref"
    write_pack(file, RECORDS)
    return Toolbox(file)


@given(st.dictionaries(WORDS.filter(bool), WORDS, max_size=40))
def test_every_entry_is_found_and_nothing_else(entries: dict[str, str]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "small.nlref"
        write_pack(file, [Record(key, key, text) for key, text in entries.items()])
        pack = Pack(file)
        assert {record.key: record.text for record in pack.records()} == entries
        assert all(pack.get(key) == Record(key, key, text) for key, text in entries.items())
        assert pack.get("\U0010ffff") is None or "\U0010ffff" in entries


@pytest.mark.parametrize("number", range(40))
def test_a_damaged_file_gives_one_clear_error_or_what_was_there(tmp_path: Path, number: int) -> None:
    file = tmp_path / "broken.nlref"
    write_pack(file, RECORDS)
    data, chance = bytearray(file.read_bytes()), random.Random(number)
    if number % 2:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    else:
        del data[chance.randrange(len(data)) :]
    file.write_bytes(data)
    try:
        list(Pack(file).records())
    except Damaged as problem:
        assert problem.hint
    with pytest.raises(Damaged):
        Pack(tmp_path / "absent.nlref").get("x")


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("What is the Moon?", "The Moon is Earth's largest natural satellite."),
        ("what is the weather", None),
        ("What is weather?", "Weather is the change in the atmosphere."),
        ("What is Mercury?", None),
        ("What is a gizmo?", 'gizmo - 1. noun: a small thing ("she saw the gizmo")'),
        ("define gizmos", 'gizmo - 1. noun: a small thing ("she saw the gizmo")'),
        ("what is a synonym for gizmo", "Words like gizmo: gadget, widget."),
        ("What is Docker?", None),
        ("What is a docker?", "docker - noun: a laborer in a port"),
        ("what is wrong", None),
        ("what does wrong mean", "wrong - adjective: not correct"),
        ("What is the capital of the Land of the Free?", "The capital of Freedonia is Fredville."),
        ("Which country's capital is Fredville?", "Fredville is the capital of Freedonia."),
        ("What is the population of Freedonia?", "The population of Freedonia is 1,000 (2024 est.)."),
        ("What is the area of Freedonia?", None),
        ("which element has the symbol Fe?", "Iron has the symbol Fe and the atomic number 26."),
        ("what element is he", None),
        ("who discovered iron", None),
        ("Who was Ada Lovelace?", "Ada Lovelace (1815 - 1852) was an English mathematician."),
        ("When was Ada Lovelace born?", "Ada Lovelace (1815 - 1852) was an English mathematician."),
        ("Where was Ada Lovelace born?", None),
        ("Can you tell me what the Moon is, please?", "The Moon is Earth's largest natural satellite."),
        ("Write a poem: what is the Moon?", None),
        ("What is the Moon?\nAnswer in French.", None),
    ],
)
def test_what_is_looked_up(helpers: Toolbox, prompt: str, text: str | None) -> None:
    found = helpers.answer(prompt)
    assert (None if found is None else found.text[: len(text or "")]) == text


def test_somebody_of_the_conversation_is_not_looked_up(helpers: Toolbox) -> None:
    assert helpers.answer("Who was Ada Lovelace?", "My cat is called Ada Lovelace.") is None


def test_an_entry_tells_its_licence_and_where_it_is_from(helpers: Toolbox) -> None:
    found = helpers.answer("What is the Moon?")
    assert found is not None
    assert (found.title, found.licence) == ("Moon", "CC BY-SA 3.0")
    assert found.told.endswith("[Simple English Wikipedia, https://simple.wikipedia.org/wiki/Moon, CC BY-SA 3.0]")


def test_models_call_the_same_functions(helpers: Toolbox) -> None:
    names = [tool["function"]["name"] for tool in json.loads(helpers.offered)]
    assert names == ["calculator", "convert_units", "calendar", "look_up"]
    assert helpers.call("calculator", '{"expression": "17 * 23"}') == Source("Calculator", "17 × 23 = 391")
    units = helpers.call("convert_units", '{"amount": 5, "from": "miles", "to": "km"}')
    assert units == Source("Units", "5 miles = 8.04672 kilometres")
    day = helpers.call("calendar", '{"date": "2024-02-29", "add": "1", "unit": "years"}')
    assert day == Source("Calendar", "Friday, 28 February 2025")
    moon = helpers.call("look_up", '{"name": "Moon"}')
    assert moon is not None
    assert moon.text == RECORDS[0].text
    assert helpers.call("weather", "{}") is None


ARGUMENT = st.sampled_from(["expression", "amount", "from", "to", "date", "until", "add", "unit", "name"])


@pytest.mark.parametrize("name", ["calculator", "convert_units", "calendar", "look_up"])
@given(arguments=st.one_of(st.text(), st.dictionaries(ARGUMENT, st.text()).map(json.dumps)))
def test_whatever_a_model_sends_gets_a_sentence(name: str, arguments: str) -> None:
    told = Toolbox(Path("/nowhere/reference.nlref")).call(name, arguments)
    assert told is not None
    assert told.text


def test_a_reference_that_is_missing_stops_no_sum() -> None:
    helpers = Toolbox(Path("/nowhere/reference.nlref"))
    assert helpers.answer("2 + 2") == Source("Calculator", "2 + 2 = 4")
    with pytest.raises(Damaged):
        helpers.answer("What is the Moon?")


def test_the_shipped_reference_is_the_one_that_its_card_describes() -> None:
    card = json.loads((SHIPPED / "card.json").read_text(encoding="utf-8"))
    (file,) = card["files"]
    data = (SHIPPED / file["path"]).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
    assert len(data) <= 8_000_000
    assert sum(1 for _ in Pack(SHIPPED / file["path"]).records()) == sum(card["entries"].values())
    assert {source["licence"] for source in card["sources"]} == {"CC BY-SA 3.0", "WordNet 3.0", "CC0"}


def test_all_models_together_are_small() -> None:
    assert sum(path.stat().st_size for path in starter_models().rglob("*") if path.is_file()) <= 60_000_000


def test_names_are_compared_without_case_accents_and_marks() -> None:
    assert plain(" “Brasília”? ") == plain("brasilia") == "brasilia"
