"""The choice of messages that still fit."""

from hypothesis import given
from hypothesis import strategies as st

from nanolocal.chat.context import fit_messages, prompt_room
from nanolocal.chat.messages import Role

talks = st.lists(st.tuples(st.sampled_from(list(Role)), st.integers(0, 300)), min_size=1, max_size=40)


def test_everything_stays_while_it_fits() -> None:
    window = fit_messages([Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER], [5, 10, 10, 10], 3, 38)
    assert (window.kept, window.tokens, window.dropped_messages, window.fits) == ((0, 1, 2, 3), 38, 0, True)


def test_the_oldest_exchange_leaves_as_a_whole() -> None:
    roles = [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER, Role.ASSISTANT, Role.USER]
    window = fit_messages(roles, [5, 10, 20, 10, 20, 10], 0, 74)
    assert (window.kept, window.dropped_messages, window.dropped_tokens, window.tokens) == ((0, 3, 4, 5), 2, 30, 45)


def test_system_and_newest_message_stay_even_when_they_do_not_fit() -> None:
    window = fit_messages([Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER], [50, 10, 10, 60], 0, 100)
    assert (window.kept, window.fits, window.tokens) == ((0, 3), False, 110)


def test_a_quarter_of_the_context_is_kept_for_a_long_answer() -> None:
    assert prompt_room(4096, 1024) == 3072
    assert prompt_room(4096, 4096) == 3072
    assert prompt_room(4096, 100) == 3996


@given(talks, st.integers(0, 50), st.integers(0, 3000))
def test_dropping_is_minimal_and_keeps_what_must_stay(talk: list[tuple[Role, int]], overhead: int, room: int) -> None:
    roles, tokens = [role for role, _ in talk], [count for _, count in talk]
    window = fit_messages(roles, tokens, overhead, room)
    kept = set(window.kept)
    gone = [index for index in range(len(talk)) if index not in kept]
    assert list(window.kept) == sorted(kept)
    assert all(roles[index] is not Role.SYSTEM for index in gone)
    assert window.tokens == overhead + sum(tokens[index] for index in kept)
    assert (window.dropped_messages, window.dropped_tokens) == (len(gone), sum(tokens[index] for index in gone))
    assert window.fits == (window.tokens <= room)
    speech = [index for index in range(len(talk)) if roles[index] is not Role.SYSTEM]
    assert gone == speech[: len(gone)]
    assert not speech or speech[-1] in kept
    if gone:
        last_exchange = next(index for index in reversed(gone) if roles[index] is Role.USER or index == speech[0])
        assert window.tokens + sum(tokens[index] for index in gone if index >= last_exchange) > room
        first_left = speech[len(gone)]
        assert roles[first_left] is Role.USER


@given(talks, st.integers(0, 3000))
def test_more_room_never_drops_more(talk: list[tuple[Role, int]], room: int) -> None:
    roles, tokens = [role for role, _ in talk], [count for _, count in talk]
    tight, wide = fit_messages(roles, tokens, 0, room), fit_messages(roles, tokens, 0, room + 100)
    assert set(tight.kept) <= set(wide.kept)
