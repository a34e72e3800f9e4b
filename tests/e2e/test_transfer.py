"""``nanolocal chats export`` and ``import``, by the real program."""

import json
from pathlib import Path

from tests.e2e.conftest import Program
from tests.unit.vault.transfer import samples


def test_an_export_is_taken_once_reported_and_found(program: Program, tmp_path: Path) -> None:
    picture = {f"{samples.PICTURE_ID}-loaf.png": samples.PNG}
    (tmp_path / "x.zip").write_bytes(samples.zipped(conversations_json=[samples.chatgpt()], **picture))
    (tmp_path / "y.json").write_text(json.dumps([samples.claude()]))
    (tmp_path / "z.json").write_text("{")
    paths = [str(tmp_path / name) for name in ("x.zip", "y.json", "z.json")]
    tried = program("chats", "import", "--dry-run", *paths[:2])
    assert tried.returncode == 0, tried.stderr
    assert "1 conversation would be taken, 4 messages, 1 attachment" in tried.stdout
    assert program("chats", "list").stdout.count("\n") == 1
    taken = program("chats", "import", *paths)
    assert taken.returncode == 2
    assert f"{paths[0]} (ChatGPT): 1 conversation taken, 4 messages, 1 attachment" in taken.stdout
    assert "    1 tool call left out: nanolocal has none" in taken.stdout
    assert f"{paths[1]} (Claude): 1 conversation taken" in taken.stdout
    assert taken.stderr.startswith(f"nanolocal: error: {paths[2]}: z.json is not valid JSON")
    again = json.loads(program("chats", "import", "--json", *paths[:2]).stdout)
    assert (again["taken"], again["already_here"]) == (0, 2)
    assert "Counting loaves" in program("chats", "search", "six").stdout


def test_everything_goes_out_and_into_another_home(program: Program, tmp_path: Path) -> None:
    assert program("ask", "hello").returncode == 0
    (tmp_path / "w.json").write_text(json.dumps([samples.open_webui()]))
    assert program("chats", "import", str(tmp_path / "w.json")).returncode == 0
    out = tmp_path / "out.json"
    written = program("chats", "export", "--out", str(out), "--json")
    assert written.returncode == 0, written.stderr
    assert "not encrypted" in written.stderr
    assert {key: json.loads(written.stdout)[key] for key in ("format", "chats", "files")} == {
        "format": "json",
        "chats": 2,
        "files": [str(out)],
    }
    assert out.stat().st_mode & 0o777 == 0o600
    assert program("chats", "export", "--out", str(out)).returncode == 2
    other = ("--home", str(tmp_path / "other"))
    assert program(*other, "chats", "import", str(out)).returncode == 0
    titles = [chat["title"] for chat in json.loads(program(*other, "chats", "list", "--json").stdout)["chats"]]
    assert sorted(titles) == ["Flour", "hello"]
    (flour,) = (
        chat for chat in json.loads(program("chats", "list", "--json").stdout)["chats"] if chat["title"] == "Flour"
    )
    folder = tmp_path / "md"
    assert program("chats", "export", flour["id"][:8], "--out", str(folder)).returncode == 0
    (text,) = folder.glob("*.md")
    assert "Spelt." in text.read_text()


def test_what_other_programs_keep_is_listed_and_taken_only_when_asked(program: Program, tmp_path: Path) -> None:
    chats = tmp_path / ".lmstudio" / "conversations"
    chats.mkdir(parents=True)
    (chats / "1.conversation.json").write_text(json.dumps(samples.lm_studio()))
    samples.jan(tmp_path / "jan" / "threads" / "jan_1")
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "none"), "XDG_DATA_HOME": str(tmp_path / "none")}
    found = program("chats", "import", "--find", **env)
    assert found.returncode == 0, found.stderr
    assert f"{chats} (LM Studio): 1 conversation would be taken" in found.stdout
    assert "(Jan): 1 conversation would be taken" in found.stdout
    assert "add --yes" in found.stderr
    assert json.loads(program("chats", "list", "--json").stdout)["chats"] == []
    assert program("chats", "import", "--find", "--yes", **env).returncode == 0
    assert len(json.loads(program("chats", "list", "--json").stdout)["chats"]) == 2
    nothing = program("chats", "import")
    assert (nothing.returncode, len(nothing.stderr.splitlines())) == (2, 2)
