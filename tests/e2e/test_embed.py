"""``nanolocal models embed``, by the real program: thousands of lines, and Ctrl+C."""

import json
import signal

from tests.e2e.conftest import Program
from tests.fakes.tiny_bert import write_tiny_bert


def test_ctrl_c_ends_it_with_what_is_done_and_charged(program: Program) -> None:
    models = program.home / "data" / "models"
    models.mkdir(parents=True)
    (program.home / "data").chmod(0o700)
    write_tiny_bert(models / "bert.gguf", layers=8, width=256)
    lines = program.home / "lines.txt"
    lines.write_text("".join(f"the cat sat on mat {number}\n" for number in range(30_000)))
    running = program.start("models", "embed", str(lines))
    assert running.stdout is not None and running.stderr is not None
    first = json.loads(running.stdout.readline())
    running.send_signal(signal.SIGINT)
    rest, told = running.stdout.read(), running.stderr.read()
    assert running.wait() == 130
    rows = [first, *map(json.loads, rest.splitlines())]
    assert 0 < len(rows) < 30_000 and {len(row) for row in rows} == {256}
    assert f"stopped: {len(rows)} of 30000 texts are done" in told
    used = json.loads(program("credits", "usage", "--by", "model", "--json").stdout)["total"]
    assert used["prompt_tokens"] >= 7 * len(rows) and used["cost_micro"] > 0
    balance = json.loads(program("credits", "balance", "--json").stdout)
    assert balance["balance_micro"] + used["cost_micro"] == 100_000
