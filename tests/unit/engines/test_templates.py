"""Chat templates: what they render, and how a hostile one fails."""

import pytest

from nanolocal.chat.messages import Message, Role
from nanolocal.engines.templates import (
    CHATML,
    MAX_TEMPLATE_BYTES,
    Piece,
    Template,
    TemplateFailed,
    tidy,
    without_system,
)
from tests.unit.engines.helpers import talk

WORDS = {"bos_token": "<s>", "eos_token": "</s>"}


def text_of(source: str | None, messages: tuple[Message, ...]) -> str:
    return "".join(piece.text for piece in Template(source, WORDS).render(messages))


def test_chatml_is_the_fallback() -> None:
    assert text_of(None, talk("hi", system="be brief")) == (
        "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_pieces_know_their_message() -> None:
    assert Template("{{ bos_token }}[{{ messages[0].content }}]", WORDS).render(talk("a<s>b")) == [
        Piece("<s>[", None),
        Piece("a<s>b", 0),
        Piece("]", None),
    ]


def test_the_helpers_of_transformers_are_there() -> None:
    source = (
        "{% for m in messages %}{% if loop.first %}{{ {'é': 1} | tojson }}{% endif %}{% generation %}{{ m.content }}"
        "{% endgeneration %}{% break %}{% endfor %}{{ strftime_now('%Y') | length }}"
    )
    assert text_of(source, talk("x")) == '{"é": 1}x4'


def test_there_are_no_tools() -> None:
    source = "{% if tools is not none or documents is not none %}tools{% endif %}{{ messages[0].content }}"
    assert text_of(source, talk("x")) == "x"


def test_a_template_says_what_it_does_not_accept() -> None:
    source = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    with pytest.raises(TemplateFailed, match="no system role"):
        text_of(source, talk("x", system="y"))


def test_a_message_that_the_template_leaves_out_is_noticed() -> None:
    with pytest.raises(TemplateFailed, match="leaves out the system message"):
        text_of("{{ messages[-1].content }}", talk("x", system="y"))


def test_earlier_reasoning_is_left_out_when_the_template_would() -> None:
    messages = talk("a", "<think>long</think>\n\nshort", "b")
    assert "long" in text_of(CHATML, messages)
    assert text_of(CHATML + "{# </think> #}", messages).count("short") == 1
    assert "long" not in text_of(CHATML + "{# </think> #}", messages)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{{ 'a' * 2000000000 }}", "repeats"),
        ("{{ [0] * 2000000000 }}", "repeats"),
        ("{{ 10 ** (10 ** 9) }}", "powers"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "longer than"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ messages.append(1) }}", "failed"),
        ("{{ cycler.__init__.__globals__.os.system('true') }}", "failed"),
        ("{% include '/etc/passwd' %}", "failed"),
        ("{{ 1 / 0 }}", "failed"),
    ],
)
def test_a_hostile_template_fails_in_words(source: str, why: str) -> None:
    with pytest.raises(TemplateFailed, match=why):
        text_of(source, talk("x"))


@pytest.mark.parametrize("source", ["{% for %}", "{{ x" * 3, "x" * (MAX_TEMPLATE_BYTES + 1)])
def test_a_broken_template_is_refused_when_it_is_read(source: str) -> None:
    with pytest.raises(TemplateFailed, match="chat template is"):
        Template(source, WORDS)


def test_neighbours_of_one_role_are_joined_and_a_system_prompt_can_move() -> None:
    user = [Message(Role.USER, "a"), Message(Role.USER, "b")]
    assert tidy(user) == [Message(Role.USER, "a\n\nb")]
    assert without_system([Message(Role.SYSTEM, "s"), *user]) == [Message(Role.USER, "s\n\na\n\nb")]
