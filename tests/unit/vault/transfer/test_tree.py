"""A sound tree comes of any messages: nothing is lost, parents come first, the current branch ends last."""

from hypothesis import given
from hypothesis import strategies as st

from nanolocal.chat.messages import Role
from nanolocal.vault.imported import ImportedMessage
from nanolocal.vault.transfer.report import Notes
from nanolocal.vault.transfer.tree import conversation, grown


def message(name: str, parent: str | None, role: Role = Role.USER) -> ImportedMessage:
    return ImportedMessage(name, parent, role, f"text of {name}", 1.0)


def links(messages: tuple[ImportedMessage, ...]) -> list[tuple[str, str | None]]:
    return [(each.id, each.parent_id) for each in messages]


def test_what_follows_a_message_left_out_moves_up_and_what_follows_nothing_stays_at_the_start() -> None:
    notes = Notes()
    given_messages = [message("d", "c"), message("a", None), message("lost", "nowhere")]
    assert links(grown(given_messages, notes, None, {"c": "b", "b": "a"})) == [("a", None), ("d", "a"), ("lost", None)]
    assert notes.lines() == ["1 message kept at the start: the one before it is missing"]


def test_loops_are_cut_and_repeated_ids_stay_apart() -> None:
    notes = Notes()
    whole = grown([message("a", "b"), message("b", "a"), message("x", "x"), message("a", "b")], notes)
    assert sorted(each.text for each in whole) == ["text of a", "text of a", "text of b", "text of x"]
    assert len({each.id for each in whole}) == 4
    assert notes.lines() == ["2 message loops cut open"]


def test_the_current_branch_ends_last_wherever_the_mark_stands() -> None:
    tree = [message("q", None), message("a", "q"), message("b", "q"), message("a2", "a"), message("c", "q")]
    for current, last in (("a", "a2"), ("a2", "a2"), ("b", "b"), (None, "c"), ("unknown", "c"), ("gone", "b")):
        assert grown(tree, Notes(), current, {"gone": "b"})[-1].id == last


def test_pieces_of_one_answer_are_joined_but_not_branches() -> None:
    say = Role.ASSISTANT
    tree = [message("q", None), message("1", "q", say), message("2", "1", say), message("3", "2", say)]
    joined = grown([*tree, message("later", "q", say)], Notes(), "3", joins=True)
    assert [(each.id, each.text) for each in joined] == [
        ("q", "text of q"), ("later", "text of later"), ("1", "text of 1\n\ntext of 2\n\ntext of 3"),
    ]  # fmt: skip
    forked = grown([*tree, message("fork", "2", say)], Notes(), joins=True)
    assert links(forked) == [("q", None), ("1", "q"), ("3", "1"), ("fork", "1")]


def test_a_conversation_of_twenty_thousand_messages_in_a_row() -> None:
    row = [message(str(n), str(n - 1) if n else None) for n in range(20_000)]
    assert links(grown(reversed(row), Notes(), "19999")) == links(tuple(row))


NAMES = st.sampled_from("abcdefgh")
MESSAGES = st.builds(message, NAMES, st.none() | NAMES, st.sampled_from(list(Role)))


@given(st.lists(MESSAGES), st.dictionaries(NAMES, st.none() | NAMES), st.none() | NAMES)
def test_any_messages_make_a_tree(
    messages: list[ImportedMessage], skipped: dict[str, str | None], tip: str | None
) -> None:
    whole = grown(messages, Notes(), tip, skipped)
    assert sorted(each.text for each in whole) == sorted(each.text for each in messages)
    seen: set[str | None] = {None}
    for each in whole:
        assert each.parent_id in seen
        assert each.id not in seen
        seen.add(each.id)
    joined = grown(messages, Notes(), tip, skipped, joins=True)
    assert sum(each.text.count("text of") for each in joined) == len(messages)


def test_without_an_id_its_texts_identify_a_conversation() -> None:
    def source(words: str) -> str:
        chat = conversation(("x", ""), "", (None, None), "", [message(words, None)], Notes())
        assert chat is not None
        return chat.source

    assert source("a") == source("a") != source("b")
    assert conversation(("x", "1"), "", (None, None), "", [], notes := Notes()) is None
    assert notes.lines() == ["1 empty conversation left out: it holds no message"]
