"""Who answers, from the command line: explained, chosen in plain lines, learned and forgotten."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Program
from tests.e2e.terminal import Terminal
from tests.fakes.tiny_gguf import write_tiny_gguf


@pytest.fixture
def rival(program: Program) -> str:
    """A second build that writes; its card promises more than the starter's size."""
    folder: Path = program.home / "data" / "models" / "rival"
    folder.mkdir(parents=True)
    (program.home / "data").chmod(0o700)
    write_tiny_gguf(folder / "rival-F32.gguf")
    card = {"id": "rival", "quality": {"*": 0.5}, "defaults": {"max_tokens": 8}}
    (folder / "card.json").write_text(json.dumps(card))
    return "rival:F32"


@pytest.mark.usefixtures("rival")
def test_route_shows_the_terms_of_the_best_and_the_gate_of_the_others(program: Program) -> None:
    told = program("route", "Tell me a story.").stdout
    for words in (
        "rival:F32\n",
        "The best, term by term",
        "  nanolocal-starter-text:Q8_0  ",
        " - loading ",
        "worked out anew from this record: the same build",
        "nanolocal-starter-image:f16  modality  it makes pictures",
    ):
        assert words in told
    assert all(len(line) <= 80 for line in told.splitlines())
    route = json.loads(program("route", "Tell me a story.", "--model", "nanolocal-starter-text:Q8_0", "--json").stdout)[
        "route"
    ]
    assert route["instead"] == "rival:F32"
    (weighed,) = route["ranking"]
    taken = weighed["time"] + weighed["price"] + weighed["swap"]
    assert weighed["score"] == pytest.approx(weighed["quality"] - taken + weighed["stay"])


def test_lines_choose_explain_and_teach(program: Program, rival: str) -> None:
    lines = [
        "Hello!", "/model starter-text:Q8", "Hello again!", "/why", "/auto fast", "/once nobody", "/auto ask",
        "/nonsense", "/regenerate", "/bad", "/help", "/quit", "never read",
    ]  # fmt: skip
    talked = program("chat", "--max-tokens", "8", text="\n".join(lines) + "\n")
    assert talked.returncode == 0
    assert f"left to itself, nanolocal would have picked {rival}" in talked.stdout
    assert "/once BUILD" in talked.stdout and "/theme" not in talked.stdout
    for words in (
        "nanolocal-starter-text:Q8_0 answers this conversation", "nanolocal chooses, preferring fast.", "rated bad",
        "no build is called 'nobody'", "Who answers is shown before it runs.", "there is no command /nonsense here",
    ):  # fmt: skip
        assert words in talked.stderr
    (chat,) = json.loads(program("chats", "list", "--json").stdout)["chats"]
    messages = json.loads(program("chats", "show", chat["id"], "--json").stdout)["messages"]
    assert [message["role"] for message in messages].count("user") == 2
    known = [each["known"] for each in json.loads(program("route", "Hello!", "--json").stdout)["route"]["ranking"]]
    assert any("tries here" in words for words in known)
    refused = program("route", "--forget")
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    assert program("route", "--forget", "--yes").returncode == 0
    ranking = json.loads(program("route", "Hello!", "--json").stdout)["route"]["ranking"]
    assert not any("tries here" in each["known"] for each in ranking)


def test_two_builds_are_compared_as_versions_of_one_answer(program: Program, rival: str) -> None:
    compared = program("compare", "Hello!", "--max-tokens", "8", "--json")
    assert (compared.returncode, "credits together" in compared.stderr) == (0, True)
    first, second = json.loads(compared.stdout)["answers"]
    assert {first["build"], second["build"].partition(":")[0]} == {rival, "nanolocal-starter-text"}
    assert first["chat_id"] == second["chat_id"]
    messages = json.loads(program("chats", "show", first["chat_id"], "--json").stdout)["messages"]
    assert [message["role"] for message in messages].count("user") == 1
    blind = program("compare", "Hello!", "--builds", f"{rival},nanolocal-starter-text", "--blind", "--max-tokens", "8")
    assert blind.stdout.startswith("A\n") and "rival" not in blind.stdout
    assert "B was " in blind.stderr
    for wrong in (("--builds", rival), ("--builds", f"{rival},rival"), ("--builds", f"{rival},nobody")):
        assert program("compare", "Hello!", *wrong).returncode == 2


def qualities(program: Program) -> dict[str, float]:
    """What is expected of each build for a greeting."""
    ranking = json.loads(program("route", "Hello!", "--json").stdout)["route"]["ranking"]
    return {each["build_id"]: each["quality"] for each in ranking}


@pytest.mark.usefixtures("rival")
def test_the_verdict_on_a_terminal_is_learned_and_only_then_is_anybody_named(program: Program) -> None:
    before = qualities(program)
    terminal = Terminal(program.home, "compare", "Hello!", "--blind", "--max-tokens", "4")
    try:
        shown = terminal.wait_for("Which is better")
        assert "rival" not in shown and "starter" not in shown
        terminal.type("b\n")
        terminal.wait_for("B was ")
        assert terminal.wait_for_end() == 0
    finally:
        terminal.close()
    after = qualities(program)
    assert sum(after[build] > before[build] for build in before) == 1


@pytest.mark.usefixtures("rival")
def test_lines_show_the_pick_where_that_is_wished_and_compare_two(program: Program) -> None:
    before = qualities(program)
    settings = program.home / "config" / "settings.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("confirm_pick = true\n")
    chat = Terminal(program.home, "chat", "--max-tokens", "4", rows=60)
    try:
        chat.wait_for("You:")
        chat.type("Hello!\n")
        chat.wait_for("another build's name lets that one answer")
        chat.type("n\n")
        chat.wait_for("nothing was asked")
        chat.type("/compare\n")
        chat.wait_for("the next prompt is answered by two builds")
        chat.type("Hello!\n")
        chat.wait_for("Two builds answer in turn")
        chat.type("\n")
        assert "A was " not in chat.wait_for("Which is better")
        chat.type("a\n")
        chat.wait_for("B was ")
        chat.type("And then?\n")
        chat.wait_for(lambda shown: shown.count("Enter runs it") == 3)
        chat.type("starter-text:Q8\n")
        chat.wait_for("(you asked for this build)")
        chat.type("\n")
        chat.wait_for(lambda shown: shown.count("You:") == 5)
        chat.type("/quit\n")
        assert chat.wait_for_end() == 0
    finally:
        chat.close()
    (row,) = json.loads(program("chats", "list", "--json").stdout)["chats"]
    shown = json.loads(program("chats", "show", row["id"], "--json").stdout)["messages"]
    assert [message["role"] for message in shown] == ["user", "assistant", "user", "assistant"]
    assert shown[3]["build"].startswith("nanolocal-starter-text")
    after = qualities(program)
    assert sum(after[build] > before[build] for build in before) == 1
