"""Every command as a user types it, with the starter builds that ship."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

from nanolocal.vault.scan import leaks
from tests.e2e.conftest import Program

pytestmark = pytest.mark.slow

STORY = "Tell me a short story about a fox."
ANSWER_KEYS = {
    "text", "model", "build", "task", "route", "usage", "timing", "cost_micro", "balance_micro", "energy_j", "chat_id",
    "message_id", "stopped", "energy_source",
}  # fmt: skip


def one_error(result: "subprocess.CompletedProcess[str]", code: int, *, hint: bool = True) -> str:
    """The error line of a command that failed with ``code`` and said nothing else."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0].startswith("nanolocal: error: ")
    assert [line.partition(":")[0] for line in lines[1:]] == (["hint"] if hint else [])
    return lines[0]


def test_ask_answers_in_a_new_home_with_every_key_of_the_contract(program: Program) -> None:
    result = program("ask", STORY, "--json", "--max-tokens", "60")
    assert (result.returncode, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert set(answer) >= ANSWER_KEYS
    assert set(answer["route"]) >= {"reasons", "runners_up", "rejected"}
    assert set(answer["usage"]) >= {"prompt_tokens", "cached_tokens", "completion_tokens"}
    assert set(answer["timing"]) == {"load_s", "ttft_s", "prompt_tok_s", "decode_tok_s"}
    assert answer["text"].strip()
    assert answer["task"] == "writing"
    assert 0 < answer["usage"]["completion_tokens"] <= 60
    assert answer["balance_micro"] == 100_000 - answer["cost_micro"] < 100_000
    balance = json.loads(program("credits", "balance", "--json").stdout)
    assert balance["balance_micro"] == answer["balance_micro"]


def test_what_nanolocal_knows_is_answered_without_a_model_and_costs_nothing(program: Program) -> None:
    summed = program("ask", "What is 17 * 23?")
    assert (summed.stdout, summed.returncode) == ("17 × 23 = 391\n", 0)
    answer = json.loads(program("ask", "What is the capital of Kenya?", "--json").stdout)
    assert answer["text"] == "The capital of Kenya is Nairobi."
    (source,) = answer["sources"]
    assert (source["title"], source["text"], source["licence"]) == ("Kenya", answer["text"], "CC0")
    assert (answer["cost_micro"], answer["usage"]["completion_tokens"], answer["route"]["is_told"]) == (0, 0, True)
    shown = json.loads(program("chats", "show", answer["chat_id"], "--json").stdout)
    assert shown["messages"][1]["sources"] == [source]
    alone = json.loads(program("ask", "What is 17 * 23?", "--no-helpers", "--json", "--max-tokens", "5").stdout)
    assert (alone["sources"], alone["usage"]["completion_tokens"] > 0) == ([], True)
    (program.home / "config").mkdir(exist_ok=True)
    (program.home / "config" / "settings.toml").write_text("helpers = false\n")
    off = json.loads(program("ask", "What is 17 * 23?", "--json", "--max-tokens", "5").stdout)
    assert (off["sources"], off["usage"]["completion_tokens"] > 0) == ([], True)


def test_the_same_seed_gives_the_same_answer(program: Program) -> None:
    options = ("--model", "nanolocal-starter-text:Q8_0", "--seed", "5", "--max-tokens", "40")
    first, second = (program("ask", STORY, *options).stdout for _ in range(2))
    assert first == second != ""


def test_standard_input_is_joined_to_the_prompt(program: Program) -> None:
    result = program("ask", "Name them", "--json", "--max-tokens", "30", text="three colours")
    chat_id = json.loads(result.stdout)["chat_id"]
    shown = json.loads(program("chats", "show", chat_id, "--json").stdout)
    assert shown["messages"][0]["text"] == "Name them\n\nthree colours"


def test_a_conversation_goes_on(program: Program) -> None:
    chat_id = json.loads(program("ask", "Hello!", "--json", "--max-tokens", "20").stdout)["chat_id"]
    again = json.loads(program("ask", "Thank you.", "--json", "--chat", chat_id, "--max-tokens", "20").stdout)
    assert again["chat_id"] == chat_id
    assert len(json.loads(program("chats", "show", chat_id, "--json").stdout)["messages"]) == 4


def test_stdout_holds_the_answer_alone(program: Program, tmp_path: Path) -> None:
    out = tmp_path / "answer.txt"
    with out.open("w") as file:
        code = subprocess.call(
            [sys.executable, "-m", "nanolocal", "--home", str(program.home), "ask", "Hello!", "--max-tokens", "20"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"NO_COLOR": "1", "TERM": "dumb"},
        )
    assert code == 0
    text = out.read_text()
    assert text.strip()
    assert "\x1b" not in text


@pytest.mark.usefixtures("slow_build")
def test_a_closed_pipe_ends_quietly(program: Program) -> None:
    process = program.start("ask", STORY)
    assert process.stdout is not None
    assert process.stdout.read(1)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(60) in (0, 1, 130)


def test_image_writes_a_real_picture_without_metadata(program: Program, tmp_path: Path) -> None:
    out = tmp_path / "fox.png"
    result = program("image", "a red circle above a blue square", "--out", str(out), "--seed", "3", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) >= 32
        assert picture.info == {}
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 1
    answer = json.loads(result.stdout)
    assert set(answer) >= ANSWER_KEYS
    assert answer["task"] == "image_gen"
    assert answer["cost_micro"] > 0


def test_the_same_seed_draws_the_same_bytes(program: Program, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        assert program("image", "a green star", "--out", str(tmp_path / name), "--seed", "4").returncode == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_several_pictures_are_drawn_and_one_of_them_is_changed(program: Program, tmp_path: Path) -> None:
    first, second, changed = (tmp_path / name for name in ("a.png", "a-2.png", "b.png"))
    drawn = program("image", "a green star", "--count", "2", "--out", str(first), "--seed", "4", "--json")
    listed = json.loads(drawn.stdout)["pictures"]
    assert [(row["picture"], row["seed"]) for row in listed] == [(str(first), 4), (str(second), 5)]
    assert first.read_bytes() != second.read_bytes()
    options = ("--from", str(first), "--strength", "0.5", "--scheduler", "euler-a", "--out", str(changed), "--json")
    answer = json.loads(program("image", "a red star", *options).stdout)
    assert (answer["task"], answer["usage"]["pixel_steps"]) == ("image_edit", 64 * 64 * 5)
    assert changed.read_bytes() not in (first.read_bytes(), second.read_bytes())


def test_a_picture_that_cannot_be_drawn_is_refused_before_anything_is_loaded(program: Program) -> None:
    for options, words in (
        (("--size", "0x64"), "width is between"),
        (("--size", "100000x64"), "width is between"),
        (("--scheduler", "fastest"), "no scheduler 'fastest'"),
        (("--strength", "0.5"), "a strength says"),
        (("--lora", "nope"), "there is no LoRA 'nope'"),
    ):
        assert words in one_error(program("image", "a cat", *options), 2)


def test_chats_are_listed_found_and_deleted_for_good(program: Program) -> None:
    chat_id = json.loads(program("ask", "My heliotropewalrus sings", "--json", "--max-tokens", "10").stdout)["chat_id"]
    listed = json.loads(program("chats", "list", "--json").stdout)["chats"]
    assert [row["id"] for row in listed] == [chat_id]
    assert json.loads(program("chats", "search", "heliotropewalrus", "--json").stdout)["hits"]
    assert program("chats", "search", '"unbalanced ( AND', "--json").returncode == 0
    one_error(program("chats", "delete", chat_id), 2)
    assert program("chats", "delete", chat_id[:8], "--yes").returncode == 0
    assert json.loads(program("chats", "list", "--json").stdout)["chats"] == []
    assert json.loads(program("chats", "search", "heliotropewalrus", "--json").stdout)["hits"] == []


def test_credits_history_adds_up_and_verifies(program: Program) -> None:
    cost = json.loads(program("ask", "Hello!", "--json", "--max-tokens", "10").stdout)["cost_micro"]
    entries = json.loads(program("credits", "history", "--json").stdout)["entries"]
    assert [(entry["kind"], entry["amount_micro"]) for entry in entries] == [("settle", -cost), ("transfer", 100_000)]
    assert program("credits", "topup", "0.05", "--note", "for the trip").returncode == 0
    assert "for the trip" in program("credits", "history").stdout
    assert json.loads(program("credits", "balance", "--json").stdout)["balance_micro"] == 150_000 - cost
    one_error(program("credits", "topup", "-1e9"), 2)
    assert json.loads(program("credits", "verify", "--json").stdout)["verified"] is True


def test_models_doctor_route_and_status_need_no_vault(program: Program) -> None:
    builds = json.loads(program("models", "list", "--json").stdout)["builds"]
    assert {build["kind"] for build in builds} == {"text", "image"}
    assert json.loads(program("models", "show", builds[0]["build"], "--json").stdout) == builds[0]
    assert json.loads(program("doctor", "--json").stdout)["missing"] == []
    routed = json.loads(program("route", "draw a cat", "--json").stdout)
    assert routed["task"] == "image_gen"
    assert routed["route"]["rejected"]
    assert json.loads(program("vault", "status", "--json").stdout)["state"] == "absent"
    assert not (program.home / "data").exists()


def test_a_passphrase_guards_the_vault(program: Program) -> None:
    secret = {"NANOLOCAL_PASSPHRASE": "correct horse"}
    assert program("ask", "Hello!", "--max-tokens", "5", **secret).returncode == 0
    before = {path: path.read_bytes() for path in (program.home / "data").rglob("*") if path.is_file()}
    assert "passphrase" in one_error(program("chats", "list", NANOLOCAL_PASSPHRASE="wrong"), 3)
    assert "locked" in one_error(program("chats", "list"), 3)
    assert before == {path: path.read_bytes() for path in (program.home / "data").rglob("*") if path.is_file()}
    assert program("chats", "list", **secret).returncode == 0


def test_bad_input_is_one_line_and_the_right_exit_code(program: Program, tmp_path: Path) -> None:
    starter = Path(json.loads(program("models", "list", "--json").stdout)["builds"][-1]["path"])
    whole = starter.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert "not a usable GGUF" in one_error(program("ask", "hi", "--model", str(cut)), 6)
    assert "model_index.json" in one_error(program("ask", "hi", "--model", str(tmp_path / "empty")), 2)
    assert "no build is called" in one_error(program("ask", "hi", "--model", "nobody"), 2)
    assert "empty" in one_error(program("ask", "  "), 2)
    assert "reads at most" in one_error(program("ask", text="many words " * 190_000), 4)
    assert "not a size" in one_error(program("image", "a cat", "--size", "big"), 2)
    assert "invalid choice" in one_error(program("frobnicate"), 2)
    assert "cannot write" in one_error(program("--home", str(tmp_path / "file" / "home"), "ask", "hi"), 2)
    assert "cannot read" in one_error(program("ask", "hi", "--attach", str(tmp_path / "absent")), 2)
    assert json.loads(program("credits", "balance", "--json").stdout)["balance_micro"] == 100_000


def test_a_broken_file_among_the_models_is_named_and_the_rest_works(program: Program) -> None:
    models = program.home / "data" / "models"
    models.mkdir(parents=True, mode=0o700)
    (program.home / "data").chmod(0o700)
    (models / "broken.gguf").write_bytes(b"GGUF\x03")
    result = program("models", "list")
    assert "broken.gguf is not a usable GGUF file" in result.stderr
    assert program("ask", "Hello!", "--max-tokens", "5").returncode == 0


def engine_of(process: "subprocess.Popen[str]") -> psutil.Process:
    """The engine child of a running command."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        children = psutil.Process(process.pid).children(recursive=True)
        engines = [child for child in children if "nanolocal.engines.host" in " ".join(child.cmdline())]
        if engines:
            return engines[0]
        time.sleep(0.02)
    raise AssertionError("no engine child appeared")


@pytest.mark.usefixtures("slow_build")
def test_a_killed_engine_keeps_and_charges_the_partial_answer(program: Program) -> None:
    process = program.start("ask", STORY)
    assert process.stdout is not None
    said = process.stdout.read(1)
    engine_of(process).kill()
    out, err = process.communicate(timeout=60)
    said += out.strip()
    assert process.returncode == 1
    assert "nanolocal: error:" in err
    assert "Traceback" not in err
    chat = json.loads(program("chats", "list", "--json").stdout)["chats"][0]
    stored = json.loads(program("chats", "show", chat["id"], "--json").stdout)["messages"][1]
    assert stored["stopped"] == "crash"
    assert stored["text"].strip() == said.strip()
    balance = json.loads(program("credits", "balance", "--json").stdout)["balance_micro"]
    assert balance == 100_000 - stored["cost_micro"]
    assert program("ask", "Hello!", "--max-tokens", "5").returncode == 0


@pytest.mark.usefixtures("slow_build")
def test_ctrl_c_stops_and_keeps_what_was_said(program: Program) -> None:
    process = program.start("ask", STORY)
    assert process.stdout is not None
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    chat = json.loads(program("chats", "list", "--json").stdout)["chats"][0]
    stored = json.loads(program("chats", "show", chat["id"], "--json").stdout)["messages"][1]
    assert stored["stopped"] == "user"


@pytest.mark.usefixtures("slow_build")
def test_a_killed_program_leaves_no_engine_no_hold_and_no_words(program: Program) -> None:
    process = program.start("ask", "My heliotropewalrus sings")
    assert process.stdout is not None
    assert process.stdout.read(1)
    engine = engine_of(process)
    process.kill()
    gone, alive = psutil.wait_procs([engine], timeout=10)
    assert (len(gone), alive) == (1, [])
    assert leaks(program.home, ["heliotropewalrus"]) == []
    delivered = json.loads(program("credits", "usage", "--json").stdout)["total"]["cost_micro"]
    assert json.loads(program("credits", "balance", "--json").stdout)["balance_micro"] == 100_000 - delivered
    assert json.loads(program("chats", "search", "heliotropewalrus", "--json").stdout)["hits"]


def test_what_was_left_out_of_a_prompt_is_said_on_stderr_also_in_a_pipe(program: Program) -> None:
    long = "The fox ran over the hill and back to the river. " * 60
    first = json.loads(program("ask", long, "--json", "--max-tokens", "5").stdout)
    assert (first["dropped_tokens"], first["remarks"]) == (0, [])
    ask = ("ask", long, "--chat", first["chat_id"], "--max-tokens", "5", "--quiet")
    told = program(*ask)
    assert told.returncode == 0
    assert "nanolocal: The oldest 2 messages (" in told.stderr
    assert "did not fit and were left out" in told.stderr
    as_json = program(*ask, "--json")
    answer = json.loads(as_json.stdout)
    assert (as_json.stderr, answer["dropped_tokens"] > 0, len(answer["remarks"])) == ("", True, 1)


def test_an_answer_is_rated_by_its_id(program: Program) -> None:
    answer = json.loads(program("ask", STORY, "--json", "--max-tokens", "5").stdout)
    rated = program("chats", "rate", answer["message_id"], "good", "--note", "short", "--json")
    assert json.loads(rated.stdout) == {"message_id": answer["message_id"], "verdict": "good"}
    assert program("chats", "rate", answer["message_id"], "none").returncode == 0
    one_error(program("chats", "rate", "nobody", "bad"), 2)
