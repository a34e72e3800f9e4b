"""The checks, one by one, at their edges."""

from typing import Any

import pytest

from nanolocal.routing.exams.marking import CHECKS, is_right


@pytest.mark.parametrize(
    ("checks", "right", "wrong"),
    [
        ({"number": 1024}, ["1,024", "2^10 = 1024.", "**1024**"], ["1024 or 1000", "x1024", "no"]),
        ({"number": -8}, ["-8"], ["8", "3-8-1"]),
        ({"any": ["bake*"]}, ["I baked bread.", "Bakery"], ["I unbaked it", "cake"]),
        ({"any": ["寒い"]}, ["今日は寒いです"], ["今日は暑いです"]),
        ({"all": ["a|b", "c"]}, ["c a", "b, c"], ["a b", "c"]),
        (
            {"option": "B"},
            ["B", "(B) since", "**B**", "Answer: B", "B\nbecause A is wrong"],
            ["A", "A) B)", "B or A", "Banana"],
        ),
        (
            {"lines_any": ["return a + b"]},
            ["```py\ndef f(a, b):\n    return a+b\n```", "return a + b"],
            ["return a", ""],
        ),
        ({"literal": "[1, 'a']"}, ['[1, "a"]', "```\n[1,'a']\n```"], ["[1]", "__import__('os')", "[" * 5000]),
        ({"accepts": ["12"], "rejects": ["a"]}, [r"^\d+$", "`[0-9]{2}`"], ["(a+)+$", "a" * 99, "[", r"(\d)*"]),
        ({"sentences": 2}, ["One. Two.", 'One! "Two?"', "One. Two"], ["One.", "One. Two. Three."]),
        ({"case": "upper"}, ["SNOW."], ["Snow."]),
        ({"ends": "good night"}, ["So good night.", "Good night"], ["good night all"]),
        ({"ends": "?"}, ["Tea?"], ["Tea? No."]),
        ({"starts": "yes"}, ["Yes, it is.", '"Yes"'], ["Yesterday", "No, yes"]),
        ({"json": ["a"]}, ['```json\n{"a": 1}\n```'], ['{"b": 1}', '["a"]', "[" * 100_000]),
        ({"without": ","}, ["plain"], ["a, b"]),
    ],
)
def test_a_check(checks: dict[str, Any], right: list[str], wrong: list[str]) -> None:
    assert [answer for answer in right if not is_right(answer, checks)] == []
    assert [answer for answer in wrong if is_right(answer, checks)] == []


def test_an_empty_answer_passes_nothing() -> None:
    assert not any(is_right(answer, {}) for answer in ("", "  \n"))
    assert len(CHECKS) > 15
