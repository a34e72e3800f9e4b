"""``models pull``, ``token`` and ``bundle`` as they are typed: what is shown, asked, kept and told as JSON."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanolocal.cli.main import main
from tests.fakes import stores
from tests.hub.faults import Fault, Kind
from tests.hub.mirror import MIRROR, be_a_mirror
from tests.hub.server import Hub


class Shell:
    """Runs commands in a home; what they wrote is in ``out`` and ``err``."""

    def __init__(self, home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self._capfd = capfd
        self._monkeypatch = monkeypatch
        self.err = ""

    def __call__(self, *args: str, code: int = 0, text: str = "") -> str:
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        ended = main(["--home", str(self.home), *args])
        told = self._capfd.readouterr()
        self.err = told.err
        assert ended == code, told.err
        return told.out

    def files(self) -> set[str]:
        """What lies among the models, cards aside."""
        models = self.home / "data" / "models"
        return {path.relative_to(models).as_posix() for path in models.rglob("*") if path.is_file()} - {
            path.relative_to(models).as_posix() for path in models.rglob("card.json")
        }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub().running() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running


@pytest.fixture
def shell(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path / "home", capfd, monkeypatch)


def add(
    hub: Hub, tmp_path: Path, name: str = "small-Q8_0.gguf", licence: str = "apache-2.0", value: float = 1
) -> bytes:
    content = stores.write_gguf(tmp_path / "scratch" / name, name, value=value).read_bytes()
    hub.repo().add(name, content)
    hub.repo().card = {"license": licence}
    return content


def test_the_plan_is_shown_before_and_the_build_told_afterwards(shell: Shell, hub: Hub, tmp_path: Path) -> None:
    add(hub, tmp_path)
    told = shell("models", "pull", "owner/model")
    for part in ("owner/model, Q8_0, commit", "small-Q8_0.gguf", "to fetch", " free", "into ", "licence  apache-2.0",
                 "small:Q8_0 is in the library", "every hash checked"):  # fmt: skip
        assert part in told
    assert all(len(line) <= 80 for line in told.splitlines() if "into" not in line)
    assert "small:Q8_0" in shell("models", "list")


def test_a_dry_run_fetches_nothing_and_makes_nothing(shell: Shell, hub: Hub, tmp_path: Path) -> None:
    add(hub, tmp_path)
    assert "to fetch" in shell("models", "pull", "owner/model", "--dry-run")
    (pull,) = json.loads(shell("models", "pull", "owner/model", "--dry-run", "--json"))["builds"]
    assert (pull["dry_run"], pull["build"], pull["bytes_fetched"]) == (True, None, 0)
    assert hub.served("small-Q8_0.gguf") == 0
    assert not (shell.home / "data").exists()


def test_json_is_one_object_at_the_end(shell: Shell, hub: Hub, tmp_path: Path) -> None:
    content = add(hub, tmp_path)
    (pull,) = json.loads(shell("models", "pull", "owner/model", "--json"))["builds"]
    assert (pull["build"], pull["bytes"], pull["bytes_fetched"]) == ("small:Q8_0", len(content), len(content))
    (file,) = pull["files"]
    assert file["sha256"] == hub.repo().files["small-Q8_0.gguf"].sha256
    assert Path(file["path"]).read_bytes() == content
    (again,) = json.loads(shell("models", "pull", "owner/model", "--json"))["builds"]
    assert (again["was_here"], again["bytes_fetched"]) == (True, 0)


def test_several_models_in_one_command(shell: Shell, hub: Hub, tmp_path: Path) -> None:
    for name in ("a-Q8_0.gguf", "b-Q4_0.gguf"):
        hub.repo().add(name, stores.write_gguf(tmp_path / "scratch" / name, name).read_bytes())
    told = shell("models", "pull", "owner/model:Q8_0", "owner/model:Q4_0", "--rate", "100MB/s", "--connections", "2")
    assert "a:Q8_0 is in the library" in told
    assert "b:Q4_0 is in the library" in told


def test_a_licence_with_conditions_needs_a_yes(shell: Shell, hub: Hub, tmp_path: Path) -> None:
    add(hub, tmp_path, licence="llama3.2")
    assert "licence  llama3.2" in shell("models", "pull", "owner/model", code=2)
    assert "add --yes to agree" in shell.err
    assert shell.files() == set()
    shell("models", "pull", "owner/model", "--yes")
    assert shell.files() == {"owner--model/small-Q8_0.gguf"}


def test_a_gated_model_comes_with_the_token_that_the_vault_keeps(shell: Shell, hub: Hub, tmp_path: Path) -> None:
    add(hub, tmp_path)
    hub.repo().is_gated, hub.accounts = True, {"hf_secret": {"owner/model"}}
    shell("models", "pull", "owner/model", "--yes", code=1)
    assert "nanolocal models token" in shell.err
    assert "is kept" in shell("models", "token", text="hf_secret\n")
    assert "hf_secret" not in "".join(
        path.read_bytes().decode("latin-1") for path in shell.home.rglob("*") if path.is_file()
    )
    told = shell("models", "pull", "owner/model", "--yes")
    assert "gated" in told
    assert hub.authorizations("hub") == {"", "Bearer hf_secret"}
    assert hub.authorizations("cdn") == {""}


def test_a_token_is_shown_to_be_there_and_removed_but_never_printed(shell: Shell, hub: Hub) -> None:
    assert "no token" in shell("models", "token", "--show")
    told = shell("models", "token", text="hf_secret\n") + shell("models", "token", "--show")
    assert "hf_secret" not in told + shell.err
    assert json.loads(shell("models", "token", "--show", "--json")) == {"hub": hub.endpoint, "token": True}
    assert "no token" in shell("models", "token", "--remove")
    for bad in ("", "two words", "x" * 600, "t\u00f6ken"):
        shell("models", "token", text=f"{bad}\n", code=2)


def test_a_token_goes_to_no_other_hub(shell: Shell, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("models", "token", text="hf_secret\n")
    with Hub().running() as other:
        monkeypatch.setenv("HF_ENDPOINT", other.endpoint)
        add(other, tmp_path)
        shell("models", "pull", "owner/model")
        assert other.authorizations("hub") == {""}


def test_a_token_of_the_environment_goes_before(
    shell: Shell, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(hub, tmp_path)
    hub.repo().is_gated, hub.accounts = True, {"hf_env": {"owner/model"}}
    monkeypatch.setenv("HF_TOKEN", "hf_env")
    shell("models", "pull", "owner/model", "--yes")
    assert not (shell.home / "data" / "vault").exists()


def test_the_hub_of_the_settings_is_used(
    shell: Shell, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(hub, tmp_path)
    monkeypatch.delenv("HF_ENDPOINT")
    (shell.home / "config").mkdir(parents=True)
    settings = shell.home / "config" / "settings.toml"
    settings.write_text(f'hub = "{hub.endpoint}"\n')
    shell("models", "pull", "owner/model")
    settings.write_text('hub = "ftp://example.org"\n')
    shell("models", "pull", "owner/model", code=2)
    assert "settings.toml, line 1: hub cannot be" in shell.err


@pytest.fixture
def mirror(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """One with a model, on another machine that speaks plain http."""
    add(hub, tmp_path)
    be_a_mirror(hub, monkeypatch)
    monkeypatch.setenv("HF_ENDPOINT", MIRROR)
    return hub


@pytest.mark.parametrize("named", ["owner/model", f"{MIRROR}/owner/model", "http://other.example/small-Q8_0.gguf"])
@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--json",)])
def test_plain_http_is_refused_before_anything_is_asked_or_written(
    shell: Shell, mirror: Hub, named: str, more: tuple[str, ...]
) -> None:
    assert shell("models", "pull", named, *more, code=2) == ""
    error, hint = shell.err.splitlines()
    assert "plain http to" in error and "--insecure" in hint
    assert mirror.asked == [] and not (shell.home / "data").exists()


def test_insecure_says_once_what_it_means_and_pulls_and_repairs(shell: Shell, mirror: Hub) -> None:
    shell("models", "pull", "owner/model", "--insecure")
    assert shell.err.count("plain http is allowed: nobody vouches for what arrives but the checksum") == 1
    (path,) = (shell.home / "data" / "models").rglob("*.gguf")
    shell("models", "repair", "small:Q8_0")
    damage(path, path.stat().st_size - 1)
    shell("models", "repair", "small:Q8_0", code=2)
    assert "plain http to mirror.example is refused" in shell.err
    assert "1 of 1 chunks repaired" in shell("models", "repair", "small:Q8_0", "--insecure")
    assert shell.err.count("plain http is allowed") == 1
    assert path.read_bytes() == mirror.repo().files["small-Q8_0.gguf"].content


def test_insecure_in_the_settings_is_enough_and_quiet_is_quiet(shell: Shell, mirror: Hub) -> None:
    (shell.home / "config").mkdir(parents=True)
    (shell.home / "config" / "settings.toml").write_text("insecure_hub = true\n")
    shell("models", "pull", "owner/model", "--quiet")
    assert shell.err == ""
    assert shell.files() == {"owner--model/small-Q8_0.gguf"}


@pytest.mark.parametrize(("args", "says"), [
    (("owner/model:Q5_K_M",), "there are Q8_0"), (("owner/missing",), "401"), (("nonsense",), "no model or repository"),
    (("owner/model", "--file", "x.gguf"), "no file 'x.gguf'"), (("owner/model", "--rate", "fast"), "5MB/s"),
    (("owner/model", "--rate", "0"), "5MB/s"),
    (("owner/model", "--connections", "99"), "connections"), ((), "required"),
])  # fmt: skip
def test_bad_input_says_what_is_wrong_and_writes_nothing(
    shell: Shell, hub: Hub, tmp_path: Path, args: tuple[str, ...], says: str
) -> None:
    add(hub, tmp_path)
    shell("models", "pull", *args, code=1 if args == ("owner/missing",) else 2)
    assert says in shell.err
    assert not (shell.home / "data").exists()


def test_an_unfinished_pull_is_noted_and_can_be_discarded(shell: Shell, hub: Hub, tmp_path: Path) -> None:
    add(hub, tmp_path)
    hub.plan = lambda asked: Fault(Kind.FLIP)
    shell("models", "pull", "owner/model", code=1)
    shell("models", "list")
    assert " fetched: nanolocal models pull owner/model goes on" in shell.err
    assert any("goes on" in note for note in json.loads(shell("models", "list", "--json"))["notes"])
    assert "deleted" in shell("models", "pull", "owner/model", "--discard")
    shell("models", "list")
    assert "goes on" not in shell.err
    assert "no unfinished pull" not in shell("models", "pull", "owner/model", "--discard")
    assert "no unfinished pull" in shell.err


def test_a_build_goes_to_another_home_in_one_file(shell: Shell, hub: Hub, tmp_path: Path) -> None:
    content = add(hub, tmp_path)
    shell("models", "pull", "owner/model")
    bundle = tmp_path / "small.bundle"
    assert "1 file" in shell("models", "bundle", "export", "small", str(bundle))
    shell("models", "bundle", "export", "small", str(bundle), code=2)
    assert "--force" in shell.err
    assert bundle.stat().st_mode & 0o777 == 0o600
    shell.home = tmp_path / "other"
    told = shell("models", "bundle", "import", str(bundle))
    assert "small:Q8_0 is in the library" in told
    assert "licence  apache-2.0" in told
    taken = json.loads(shell("models", "bundle", "import", str(bundle), "--json"))
    assert (taken["build"], taken["was_here"]) == ("small:Q8_0", True)
    assert Path(taken["place"]).read_bytes() == content


def test_a_damaged_bundle_ends_with_6_and_leaves_nothing(shell: Shell, hub: Hub, tmp_path: Path) -> None:
    add(hub, tmp_path)
    shell("models", "pull", "owner/model")
    bundle = tmp_path / "small.bundle"
    shell("models", "bundle", "export", "small", str(bundle), "--quiet")
    changed = bytearray(bundle.read_bytes())
    changed[-2000] ^= 1
    bundle.write_bytes(changed)
    shell.home = tmp_path / "other"
    shell("models", "bundle", "import", str(bundle), code=6)
    assert "is damaged" in shell.err
    assert shell.files() == set()
    shell("models", "bundle", "import", str(tmp_path / "none"), code=2)
    (tmp_path / "text").write_text("no bundle")
    shell("models", "bundle", "import", str(tmp_path / "text"), code=6)


def damage(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))


def test_only_what_is_damaged_is_fetched_again(shell: Shell, hub: Hub, tmp_path: Path) -> None:
    content = stores.write_gguf(tmp_path / "scratch" / "big", "big", rows=80_000).read_bytes()
    hub.repo().add("big-Q8_0.gguf", content)
    shell("models", "pull", "owner/model")
    path = shell.home / "data" / "models" / "owner--model" / "big-Q8_0.gguf"
    damage(path, 17 * 2**20)
    before = hub.served("big-Q8_0.gguf")
    assert "1 of 2 chunks repaired" in shell("models", "repair", "big:Q8_0")
    assert path.read_bytes() == content
    assert hub.served("big-Q8_0.gguf") - before <= len(content) - 16 * 2**20
    told = json.loads(shell("models", "repair", "big", "--json"))
    assert [(file["chunks"], file["repaired"]) for file in told["files"]] == [(2, 0)]


def test_a_build_that_is_refused_for_its_damage_is_repaired_too(shell: Shell, hub: Hub, tmp_path: Path) -> None:
    content = add(hub, tmp_path)
    shell("models", "pull", "owner/model")
    path = shell.home / "data" / "models" / "owner--model" / "small-Q8_0.gguf"
    damage(path, len(content) - 1)
    assert "small:Q8_0" not in shell("models", "list")
    assert "1 of 1 chunks repaired" in shell("models", "repair", "small:Q8_0")
    assert path.read_bytes() == content
    assert "small:Q8_0" in shell("models", "list")


def test_what_was_not_pulled_cannot_be_repaired(shell: Shell, hub: Hub, tmp_path: Path) -> None:
    own = shell.home / "data" / "models" / "own" / "mine-Q8_0.gguf"
    stores.write_gguf(own)
    shell("models", "repair", "mine", code=2)
    assert "does not say where it was pulled from" in shell.err
    shell("models", "repair", "nothing", code=2)
    assert "nothing that was pulled is called 'nothing'" in shell.err
