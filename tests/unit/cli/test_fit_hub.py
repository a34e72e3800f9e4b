"""``models fit OWNER/REPOSITORY[:QUANT]``: judged by the hub's list of sizes, or exactly, by headers alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import copy

import pytest

from nanolocal.cli.main import main
from nanolocal.device.bandwidth import memory_bandwidth
from tests.fakes.blank_gguf import Shape, write_blank_gguf
from tests.fakes.range_server import serving
from tests.hub.faults import Fault, Kind, Once
from tests.hub.mirror import MIRROR, be_a_mirror
from tests.hub.server import Hub

LLAMA_70B = Shape("llama", 8192, 80, 64, 8, 128, 28_672, 128_256)


class Fit:
    def __init__(self, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self._home = home
        self._capfd = capfd
        self.err = ""

    def __call__(self, *args: str, code: int = 0) -> str:
        assert main(["--home", str(self._home), "models", *args]) == code
        told = self._capfd.readouterr()
        self.err = told.err
        return told.out

    def json(self, *args: str, code: int = 0) -> dict[str, object]:
        told: dict[str, object] = json.loads(self("fit", *args, "--json", code=code))
        return told


def rows(told: dict[str, object]) -> list[dict[str, object]]:
    builds = told["builds"]
    assert isinstance(builds, list)
    return builds


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub().running() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The memory speed of this machine, which takes a while to measure."""
    kept = tmp_path_factory.mktemp("measured") / "bandwidth.json"
    memory_bandwidth(kept)
    return kept


@pytest.fixture
def fit(tmp_path: Path, measured: Path, capfd: pytest.CaptureFixture[str]) -> Fit:
    (tmp_path / "home" / "cache").mkdir(parents=True)
    copy(measured, tmp_path / "home" / "cache" / measured.name)
    return Fit(tmp_path / "home", capfd)


def add(hub: Hub, tmp_path: Path, *quantizations: str, parts: int = 1, shape: Shape = LLAMA_70B) -> None:
    for quantization in quantizations:
        first = write_blank_gguf(tmp_path / "far" / f"m-{quantization}.gguf", shape, quantization, parts=parts)
        for path in sorted(first.parent.glob(f"m-{quantization}*")):
            hub.repo().add_large(path.name, path)


def test_every_build_of_a_repository_is_judged_by_its_size_and_nothing_is_fetched(
    fit: Fit, hub: Hub, tmp_path: Path
) -> None:
    add(hub, tmp_path, "Q8_0", "Q4_K_M", shape=Shape("llama"))
    hub.repo().add("README.md", b"words", is_lfs=False)
    told = fit.json("owner/model")
    assert (told["repository"], told["commit"]) == ("owner/model", hub.repo().commit)
    assert [(row["label"], row["source"]) for row in rows(told)] == [
        ("Q8_0", "from size alone"), ("Q4_K_M", "from size alone"),
    ]  # fmt: skip
    assert [row["size_bytes"] for row in rows(told)] == [
        hub.repo().files[f"m-{label}.gguf"].size for label in ("Q8_0", "Q4_K_M")
    ]
    assert all(asked.path.startswith("/api/") for asked in hub.asked)
    lines = fit("fit", "owner/model").splitlines()
    assert max(map(len, [*lines, *fit.err.splitlines()])) <= 80


def test_the_build_called_best_is_the_one_that_a_pull_takes(fit: Fit, hub: Hub, tmp_path: Path) -> None:
    add(hub, tmp_path, "Q8_0", "Q4_K_M", "F16", shape=Shape("llama"))
    (best,) = [row["label"] for row in rows(fit.json("owner/model")) if row["is_best"]]
    (pull,) = json.loads(fit("pull", "owner/model", "--dry-run", "--json"))["builds"]
    assert pull["quantization"] == best


@pytest.mark.parametrize("parts", [1, 3])
def test_a_named_build_is_read_by_its_headers_behind_the_hub_s_redirect(
    fit: Fit, hub: Hub, tmp_path: Path, parts: int
) -> None:
    add(hub, tmp_path, "Q4_K_M", parts=parts)
    size = sum(file.size for file in hub.repo().files.values())
    assert size > 40 * 10**9
    told = fit.json("owner/model:Q4_K_M", "--context", "2048", code=0 if _is_large_machine() else 4)
    (row,) = rows(told)
    assert (row["label"], row["source"], row["context"]) == ("Q4_K_M", "probed", 2048)
    assert abs(int(str(row["size_bytes"])) - size) < parts * 4096
    served = sum(asked.served for asked in hub.asked if asked.host == "cdn")
    assert 0 < served < size * 0.005
    resolved = [asked.path for asked in hub.asked if "/resolve/" in asked.path]
    assert resolved and all(f"/resolve/{hub.repo().commit}/" in path for path in resolved)


def _is_large_machine() -> bool:
    import psutil

    return psutil.virtual_memory().available > 50 * 10**9


def test_the_token_goes_to_the_hub_and_to_nobody_else(
    fit: Fit, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(hub, tmp_path, "Q8_0", shape=Shape("llama"))
    hub.repo().is_gated, hub.accounts = True, {"hf_secret": {"owner/model"}}
    fit("fit", "owner/model:Q8_0", code=1)
    assert "accept the licence at" in fit.err and "nanolocal models token" in fit.err
    hub.asked.clear()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fit("fit", "owner/model:Q8_0", "--context", "2048")
    assert hub.authorizations("hub") == {"Bearer hf_secret"}
    assert hub.authorizations("cdn") == {""}


def test_a_token_never_goes_to_a_plain_address(
    fit: Fit, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    path = write_blank_gguf(tmp_path / "far" / "m-Q8_0.gguf", Shape("llama"), "Q8_0")
    with serving(path) as served:
        fit("fit", served.url, "--context", "2048")
        assert {token for _, token in served.tokens} == {""}
    assert hub.asked == []


@pytest.mark.parametrize("named", ["owner/model", "owner/model:Q8_0", "http://other.example/m-Q8_0.gguf"])
def test_plain_http_to_another_machine_has_to_be_wanted(
    fit: Fit, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    add(hub, tmp_path, "Q8_0", shape=Shape("llama"))
    be_a_mirror(hub, monkeypatch)
    monkeypatch.setenv("HF_ENDPOINT", MIRROR)
    fit("fit", named, code=2)
    assert "plain http to" in fit.err and "--insecure" in fit.err and hub.asked == []
    if "other" not in named:
        assert len(rows(fit.json(named, "--context", "2048", "--insecure"))) == 1
        assert fit.err.count("plain http is allowed: nobody vouches") == 1


def test_a_page_and_a_file_of_the_hub_may_be_named_by_their_addresses(fit: Fit, hub: Hub, tmp_path: Path) -> None:
    add(hub, tmp_path, "Q8_0", "Q4_K_M", shape=Shape("llama"))
    assert len(rows(fit.json(f"{hub.endpoint}/owner/model"))) == 2
    (row,) = rows(fit.json(hub.url("m-Q8_0.gguf"), "--context", "2048"))
    assert (row["label"], row["source"]) == ("Q8_0", "probed")


def test_a_model_of_the_catalogue_without_sizes_is_looked_up_on_the_hub(fit: Fit, hub: Hub) -> None:
    repo = hub.repo("black-forest-labs/FLUX.1-schnell")
    repo.add("model_index.json", json.dumps({"vae": ["diffusers", "AutoencoderKL"]}).encode(), is_lfs=False)
    repo.add("vae/config.json", b"{}", is_lfs=False)
    repo.add("vae/diffusion_pytorch_model.safetensors", bytes(2_000_000))
    (row,) = rows(fit.json("flux.1-schnell"))
    assert int(str(row["needed"])) > 2 * 2_000_000
    assert (row["tokens_per_s"], row["context"]) == (0, 0)


@pytest.mark.parametrize(("name", "code", "says"), [
    ("owner/missing", 1, "refused access"),
    ("owner/model:Q5_K_M", 2, "there are Q8_0"),
    ("owner/pickled", 2, "unpickling runs code"),
    ("nonsense", 2, "no model or repository is called 'nonsense'"),
    ("https://example.org/model.bin", 2, "refused"),
])  # fmt: skip
def test_what_cannot_be_known_is_told(fit: Fit, hub: Hub, tmp_path: Path, name: str, code: int, says: str) -> None:
    add(hub, tmp_path, "Q8_0", shape=Shape("llama"))
    hub.repo("owner/pickled").add("pytorch_model.bin", b"x")
    fit("fit", name, code=code)
    assert says in fit.err


def test_a_file_is_not_taken_for_a_repository(
    fit: Fit, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_blank_gguf(tmp_path / "models" / "m-Q8_0.gguf", Shape("llama"))
    monkeypatch.chdir(tmp_path)
    fit("fit", "models/m-Q8_0.gguf", code=2)
    assert "is a file here" in fit.err and hub.asked == []


@pytest.mark.parametrize(("kind", "says"), [
    (Kind.WRONG_RANGE, "instead of"), (Kind.WHOLE, "whole files only"), (Kind.BUSY, "asks to wait"),
    (Kind.DISCONNECT, "cannot be read|stopped after"), (Kind.NEW_ETAG, "changed on the server"),
])  # fmt: skip
def test_a_fault_in_a_header_is_an_error_and_no_wrong_figure(
    fit: Fit, hub: Hub, tmp_path: Path, kind: Kind, says: str
) -> None:
    add(hub, tmp_path, "Q8_0", shape=Shape("llama", vocabulary=20_000))
    first = Once(Fault(kind))
    hub.plan = lambda asked: first(asked) if asked.host == "cdn" and not asked.range.endswith("0-0") else None
    fit("fit", "owner/model:Q8_0", code=1)
    assert any(each in fit.err for each in says.split("|"))


@pytest.mark.parametrize("memory_mb", [0, 300])
def test_a_pull_says_first_what_to_expect(fit: Fit, hub: Hub, tmp_path: Path, memory_mb: int) -> None:
    add(hub, tmp_path, "Q8_0", shape=Shape("llama", width=1024, heads=16, layers=16, feed_forward=4096))
    (tmp_path / "home" / "config").mkdir()
    (tmp_path / "home" / "config" / "settings.toml").write_text(f"memory_mb = {memory_mb}\n")
    told = fit("pull", "owner/model:Q8_0", "--dry-run")
    (line,) = [line for line in told.splitlines() if line.startswith("  here ")]
    (pull,) = json.loads(fit("pull", "owner/model:Q8_0", "--dry-run", "--json"))["builds"]
    if memory_mb:
        assert "does not fit: needs about" in line and "too large by" in line
        assert pull["fit"]["fits"] is False
    else:
        assert "of memory with 8,192 tokens, about" in line and line.endswith(" tokens/s")
        assert pull["fit"]["fits"] is True
    assert len(line) <= 80
