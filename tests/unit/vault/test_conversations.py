import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanolocal.chat.messages import Attachment, Message, Role, Usage
from nanolocal.errors import UsageError
from nanolocal.vault.imported import ImportedChat, ImportedMessage
from tests.fakes.homes import BUILD, Home, a_hold, an_answer, home

PICTURE = Attachment("fox.png", "image/png", bytes(range(256)) * 300)
FILE = Attachment("notes.txt", "text/plain", b"attached words")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path / "home") as opened:
        yield opened


def texts(here: Home, chat_id: str, tip: str | None = None) -> list[str]:
    return [stored.message.text for stored in here.store.path(chat_id, tip)]


def test_a_conversation_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    with home(tmp_path / "home") as first:
        chat_id, prompt_id, answer_id = first.turn("héllo\r\n\0 'x'", "answer ✨", attachments=(FILE,), picture=PICTURE)
    with home(tmp_path / "home") as second:
        prompt, answer = second.store.path(chat_id)
    assert (prompt.id, prompt.parent_id, prompt.message) == (
        prompt_id,
        None,
        Message(Role.USER, "héllo\r\n\0 'x'", (FILE,)),
    )
    assert (answer.id, answer.parent_id) == (answer_id, prompt_id)
    assert answer.message == Message(Role.ASSISTANT, "answer ✨", (PICTURE,))
    assert (answer.build_id, answer.task, answer.stopped, answer.cost_micro) == (BUILD.id, "chat", "end", 5)
    assert (answer.usage, answer.decode_tok_s) == (Usage(100, 20, 30, 0), 25.5)
    record = json.loads(answer.route_json or "")
    assert record["reasons"] == ["only one"]
    assert record["rejected"] == [{"build_id": "c:Q4", "gate": "memory", "reason": "x"}]


def test_editing_and_regenerating_make_branches(here: Home) -> None:
    chat_id, first, answer = here.turn("one", "1")
    again = here.answer(chat_id, first, "1 again")
    _, edited, edited_answer = here.turn("one, edited", "2", chat_id)
    _, deeper, _ = here.turn("more", "3", chat_id, parent_id=answer)

    assert texts(here, chat_id) == ["one", "1", "more", "3"]
    assert texts(here, chat_id, again) == ["one", "1 again"]
    assert texts(here, chat_id, edited_answer) == ["one, edited", "2"]
    assert texts(here, chat_id, deeper) == ["one", "1", "more"]
    assert here.store.newest_below(chat_id, first) == here.store.path(chat_id)[-1].id
    assert here.store.newest_below(chat_id, again) == again
    assert here.store.newest_below(chat_id, edited) == edited_answer
    path = here.store.path(chat_id, again)
    assert path[0].siblings == (first, edited)
    assert path[1].siblings == (answer, again)


def test_a_parent_of_another_conversation_is_refused(here: Home) -> None:
    chat_id, _, _ = here.turn("one", "1")
    _, foreign, _ = here.turn("two", "2")
    for parent in (foreign, "nothing", "\ud800"):
        with pytest.raises(UsageError), here.store.transaction() as tx:
            here.store.add_prompt(tx, chat_id, parent, Message(Role.USER, "x"))
    assert len(here.store.path(chat_id)) == 2


def test_unknown_ids_are_usage_errors(here: Home) -> None:
    chat_id, _, _ = here.turn("one", "1")
    for attempt in (
        lambda: here.store.path("nope"),
        lambda: here.store.path(chat_id, "nope"),
        lambda: here.store.path("\udcff"),
        lambda: here.store.system_prompt("nope"),
        lambda: here.store.rename_chat("nope", "x"),
        lambda: here.store.delete_chat("nope"),
    ):
        with pytest.raises(UsageError):
            attempt()
    assert here.store.chat_exists(chat_id)
    assert not here.store.chat_exists("nope")


def test_an_empty_conversation_has_an_empty_path_and_its_system_prompt(here: Home) -> None:
    with here.store.transaction() as tx:
        chat_id = here.store.start_chat(tx, "t", "be brief")
        bare = here.store.start_chat(tx, "t", None)
    assert list(here.store.path(chat_id)) == []
    assert (here.store.system_prompt(chat_id), here.store.system_prompt(bare)) == ("be brief", None)


def test_a_failed_transaction_leaves_nothing_not_even_a_file(here: Home, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), here.store.transaction() as tx:
        chat_id = here.store.start_chat(tx, "t", None)
        here.store.add_prompt(tx, chat_id, None, Message(Role.USER, "x", (FILE, PICTURE)))
        raise ZeroDivisionError
    assert here.store.chats(10) == []
    assert list((tmp_path / "home" / "blobs").iterdir()) == []
    with pytest.raises(RuntimeError):
        here.store.start_chat(tx, "late", None)


def test_a_transaction_inside_another_is_refused(here: Home) -> None:
    with pytest.raises(RuntimeError), here.store.transaction():
        here.wallet.top_up(1)
    assert here.wallet.verify().open_holds == 0


def test_the_list_shows_the_last_used_first_and_renames(here: Home) -> None:
    first, _, answer = here.turn("one", "1", title="first")
    second, _, _ = here.turn("two", "2", title="second")
    here.turn("more", "3", first, parent_id=answer)
    here.store.rename_chat(second, "renamed \ud800")
    assert [(row.id, row.title, row.messages) for row in here.store.chats(10)] == [
        (first, "first", 4),
        (second, "renamed \ufffd", 2),
    ]
    assert [row.id for row in here.store.chats(1, 1)] == [second]
    assert here.store.chats(-1) == []


def test_deleting_removes_messages_files_and_words_but_not_the_payment(here: Home, tmp_path: Path) -> None:
    chat_id, _, _ = here.turn("zebra", "giraffe", attachments=(FILE,), picture=PICTURE, title="okapi")
    kept, _, _ = here.turn("zebra", "kept", picture=PICTURE)
    spent = here.wallet.balance()
    here.store.delete_chat(chat_id)
    assert not here.store.chat_exists(chat_id)
    assert [hit.chat_id for hit in here.store.search("zebra", 9)] == [kept]
    assert here.store.search("giraffe", 9) == here.store.search("okapi", 9) == []
    assert len(list((tmp_path / "home" / "blobs").iterdir())) == 1
    assert here.wallet.balance() == spent
    assert here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head)).entries == 7


def test_a_conversation_of_two_thousand_messages_in_a_row_can_be_read_and_deleted(here: Home) -> None:
    with here.store.transaction() as tx:
        chat_id, parent = here.store.start_chat(tx, "long", None), None
        for number in range(2000):
            parent = here.store.add_prompt(tx, chat_id, parent, Message(Role.USER, f"m{number}"))
    assert texts(here, chat_id) == [f"m{number}" for number in range(2000)]
    here.store.delete_chat(chat_id)
    assert here.vault.database.problems() == ()


def test_one_answer_pays_one_hold(here: Home) -> None:
    chat_id, prompt_id, _ = here.turn("one", "1")
    with here.store.transaction() as tx:
        here.store.add_answer(tx, chat_id, prompt_id, an_answer("a"), a_hold(1))
    with pytest.raises(Exception, match="UNIQUE"), here.store.transaction() as tx:
        here.store.add_answer(tx, chat_id, prompt_id, an_answer("b"), a_hold(1))


def test_strange_numbers_and_surrogates_do_not_lose_an_answer(here: Home) -> None:
    chat_id, prompt_id, _ = here.turn("one", "1")
    odd = an_answer("lone \ud800 surrogate", problem="bad \udfff")
    odd = type(odd)(**{**{name: getattr(odd, name) for name in odd.__slots__}, "energy_j": float("nan")})
    with here.store.transaction() as tx:
        answer_id = here.store.add_answer(tx, chat_id, prompt_id, odd, a_hold(1))
    assert here.store.path(chat_id, answer_id)[-1].message.text == "lone \ufffd surrogate"


@pytest.mark.parametrize("missing", [False, True])
def test_a_damaged_or_missing_picture_is_named_and_the_conversation_stays_readable(
    here: Home, tmp_path: Path, missing: bool
) -> None:
    chat_id, _, _ = here.turn("one", "1", attachments=(FILE,), picture=None)
    (whole,) = (tmp_path / "home" / "blobs").iterdir()
    _, _, answer = here.turn("two", "2", chat_id, picture=PICTURE, parent_id=here.store.path(chat_id)[-1].id)
    (blob,) = set((tmp_path / "home" / "blobs").iterdir()) - {whole}
    blob.unlink() if missing else blob.write_bytes(blob.read_bytes()[:-1])
    path = here.store.path(chat_id, answer)
    assert [stored.damaged for stored in path] == [(), (), (), (PICTURE.name,)]
    assert path[0].message.attachments == (FILE,)
    assert path[3].message.attachments[0].data == b""
    assert here.vault.verify() == [f"the attached file {PICTURE.name} is damaged or missing"]


def test_a_conversation_from_elsewhere_is_taken_once_and_whole(here: Home) -> None:
    messages = (
        ImportedMessage("a", None, Role.USER, "asked", 5.0, None, (FILE,)),
        ImportedMessage("b", "a", Role.ASSISTANT, "one way", 6.0, "gpt-9"),
        ImportedMessage("c", "a", Role.ASSISTANT, "another way", 7.0, "gpt-9"),
    )
    chat = ImportedChat("elsewhere:1", "from elsewhere", 5.0, 9.0, "be kind", messages)
    chat_id = here.store.import_chat(chat)
    assert chat_id is not None
    assert here.store.import_chat(chat) is None
    asked, answer = here.store.path(chat_id)
    assert (asked.message, asked.created_at) == (Message(Role.USER, "asked", (FILE,)), 5.0)
    assert (answer.message.text, answer.build_id, len(answer.siblings)) == ("another way", "gpt-9", 2)
    assert (here.store.system_prompt(chat_id), here.store.chats(1)[0].updated_at) == ("be kind", 9.0)
    assert here.vault.verify() == []
    orphan = ImportedChat("elsewhere:2", "x", 5.0, 9.0, None, (ImportedMessage("b", "a", Role.USER, "x", 1.0),))
    with pytest.raises(UsageError):
        here.store.import_chat(orphan)
    assert len(here.store.chats(9)) == 1


def test_feedback_and_settings_are_kept_and_go_with_their_message(here: Home) -> None:
    chat_id, prompt, answer = here.turn("one", "1")
    here.store.rate(answer, "bad")
    here.store.rate(answer, "good", "it rhymes")
    read = here.vault.database.execute
    assert [(stored.verdict, stored.note) for stored in here.store.path(chat_id)] == [(None, ""), ("good", "it rhymes")]
    for no_answer in ("nobody", prompt):
        with pytest.raises(UsageError, match="there is no answer"):
            here.store.rate(no_answer, "good")
    here.store.rate(answer, None)
    assert (here.store.path(chat_id)[1].verdict, here.vault.verify()) == (None, [])
    here.store.rate(answer, "bad")
    here.store.delete_chat(chat_id)
    assert read("SELECT * FROM feedback") == []
    here.store.keep_setting("instructions", "be brief")
    assert here.store.setting("instructions") == here.store.system_prompt(None) == "be brief"
    here.store.keep_setting("instructions", None)
    assert here.store.setting("instructions") is here.store.system_prompt(None) is None


def test_many_threads_store_and_read_at_once(here: Home) -> None:
    async def everything() -> list[tuple[str, str, str]]:
        turns = [asyncio.to_thread(here.turn, f"prompt {n}", f"answer {n}") for n in range(24)]
        reads = [asyncio.to_thread(here.store.search, "prompt", 5) for _ in range(24)]
        stored, _ = await asyncio.gather(asyncio.gather(*turns), asyncio.gather(*reads))
        return stored

    for number, (chat_id, _, _) in enumerate(asyncio.run(everything())):
        assert texts(here, chat_id) == [f"prompt {number}", f"answer {number}"]
    assert here.wallet.balance() == 100_000 - 24 * 5
    here.wallet.verify()


# search


def found(here: Home, query: str) -> list[str]:
    return [hit.snippet for hit in here.store.search(query, 10)]


def test_search_finds_words_in_any_case_accent_order_and_unfinished(here: Home) -> None:
    here.turn("The Café by the lake", "pancakes\nand tea")
    assert found(here, "cafe") == ["The Café by the lake"]
    assert found(here, "LAKE café") == ["The Café by the lake"]
    assert found(here, "panc") == ["pancakes and tea"]
    assert found(here, "lake pancakes") == []


def test_search_gives_one_hit_for_equal_texts_and_no_title_beside_its_messages(here: Home) -> None:
    chat_id, prompt_id, answer_id = here.turn("weather in Lima", "sunny", title="weather in Lima")
    here.turn("weather in Lima", "rainy", chat_id)
    titled, _, newest = here.turn("something", "else", title="weather log")
    hits = here.store.search("weather", 10)
    assert [hit.chat_id for hit in hits] == [chat_id, titled]
    assert hits[0].snippet == "weather in Lima"
    assert (hits[1].message_id, hits[1].snippet) == (newest, "weather log")
    assert prompt_id != answer_id


def test_search_finds_a_part_where_no_word_matches(here: Home) -> None:
    here.turn("今天天气很好我们去公园吧", "100%_sure\\", title="标题文字")
    assert found(here, "天气") == ["今天天气很好我们去公园吧"]
    assert found(here, "%_sure\\") == ["100%_sure\\"]
    assert found(here, "题文") == ["标题文字"]
    assert found(here, "_天") == []


def test_a_snippet_is_short(here: Home) -> None:
    here.turn("word " * 500 + "needle " + "word " * 500, "unbroken" * 500 + "pin" + "unbroken" * 500)
    for query in ("needle", "npinu"):
        (snippet,) = found(here, query)
        assert query in snippet
        assert len(snippet) < 250


def test_the_limit_is_kept(here: Home) -> None:
    for number in range(5):
        here.turn(f"same {number}", "x")
    assert len(here.store.search("same", 3)) == 3
    assert here.store.search("same", 0) == here.store.search("same", -4) == here.store.search("  ", 5) == []


def marked(here: Home, query: str) -> list[list[str]]:
    return [[hit.snippet[start:end] for start, end in hit.marks] for hit in here.store.search(query, 10)]


def test_a_phrase_in_quotes_stands_together_and_matches_are_marked(here: Home) -> None:
    here.turn("a red fox and a blue hare", "the fox, red as rust: Réd!")
    assert found(here, '"red fox"') == ["a red fox and a blue hare"]
    assert sorted(found(here, "red fox")) == ["a red fox and a blue hare", "the fox, red as rust: Réd!"]
    assert marked(here, '"red fox"') == [["red fox"]]
    assert sorted(marked(here, "red fox")) == [["fox", "red", "Réd"], ["red", "fox"]]
    assert marked(here, "har") == [["har"]]
    assert marked(here, "model:tiny") == [[]]


def test_filters_narrow_a_search_or_stand_alone(here: Home) -> None:
    _, first, answered = here.turn("draw a fox", "here is a fox", picture=PICTURE)
    _, second, plain = here.turn("say fox", "fox")

    def ids(query: str) -> set[str]:
        return {hit.message_id for hit in here.store.search(query, 10)}

    assert ids("fox from:me") == {first, second}
    assert ids("from:model fox") == ids("fox model:TINY") == ids("fox task:chat") == {answered, plain}
    assert ids("has:picture") == ids("fox has:picture from:model") == {answered}
    assert ids("fox model:other") == ids("fox task:cha") == ids("has:picture from:me") == set()
    assert ids("fox since:today") == ids("since:1d until:9999-12-31 fox") == {first, second, answered, plain}
    assert ids("fox until:yesterday") == ids("fox since:9999-12-31") == set()


def test_a_filter_with_a_wrong_value_is_refused_and_in_quotes_it_is_text(here: Home) -> None:
    here.turn("see since:2 and has:legs, from:him", "an answer")
    for query in ("since:2", "has:legs", "from:him", "until:2026-13-01 see", "since:99999999d"):
        with pytest.raises(UsageError):
            here.store.search(query, 5)
        assert len(here.store.search(f'"{query}"', 5)) == (query in ("since:2", "has:legs", "from:him"))
    for query in ("model:", "since:3000-01-01", "until:1971-01-01", "https://none.here"):
        assert here.store.search(query, 5) == [], query


def test_newer_messages_come_first_where_they_match_as_well(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        for number in range(3):
            moment = 1e9 + number * 60 * 86_400
            message = ImportedMessage("1", None, Role.USER, f"the weather number {number}", moment)
            here.store.import_chat(ImportedChat(f"x:{number}", "t", moment, moment, None, (message,)))
        assert found(here, "weather") == [f"the weather number {number}" for number in (2, 1, 0)]


HOSTILE = ['"', "*", "a AND", "NEAR(", "text:x", "^x", "-x", "(((", "{a b}:c", "x\0y", "';DROP TABLE chat;--", "\ud800"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40), st.text('"*():^-+ANDORNEAR{}\\%_ ax', max_size=60)))
def test_any_string_without_a_filter_is_a_query(here: Home, query: str) -> None:
    if not here.store.chats(1):
        here.turn("plain text about a fox", "a answer")
    assert len(here.store.search(query, 5)) <= 5
    here.store.search(query * 200, 5)
