"""From what was typed to a build in the library, over real HTTP from a hub that is not always nice."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanolocal.errors import AccessRefused, Damaged, NoBuildFits, TransferFailed, UsageError
from nanolocal.library import fingerprints, removal
from nanolocal.library.catalogue import shelf
from nanolocal.library.pull import UNFINISHED, hashes, staging
from nanolocal.library.pull.choosing import best_that_fits
from nanolocal.library.pull.control import Control
from nanolocal.library.pull.plan import Progress, Stage
from tests.fakes import stores
from tests.hub.server import Hub
from tests.hub.stored import HOSTILE_NAMES, Stored
from tests.unit.library.pull.bench import Bench, a_bench, answering, gguf


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with a_bench(tmp_path / "home") as made:
        yield made


def card(bench: Bench, folder: str) -> dict[str, object]:
    table: dict[str, object] = json.loads((bench.models / folder / "card.json").read_text())
    return table


def test_a_build_that_was_pulled_is_in_the_library_under_names_that_others_can_read(bench: Bench) -> None:
    file = gguf(bench, "small-Q8_0.gguf")
    bench.hub.repo().card = {"license": "apache-2.0"}
    done = bench.pull("owner/model")
    assert done.build is not None
    assert (done.build.id, done.build.sha256, done.build.licence) == ("small:Q8_0", file.sha256, "apache-2.0")
    assert done.build.path == bench.models / "owner--model" / "small-Q8_0.gguf"
    assert bench.held() == {"models/owner--model/small-Q8_0.gguf": file.content}
    pulled = card(bench, "owner--model")["pulled"]
    assert isinstance(pulled, dict)
    assert (pulled["repo"], pulled["commit"]) == ("owner/model", bench.hub.repo().commit)
    assert pulled["files"]["small-Q8_0.gguf"]["sha256"] == file.sha256


def test_every_address_is_pinned_to_the_commit(bench: Bench) -> None:
    gguf(bench, "small-Q8_0.gguf")
    bench.pull("owner/model")
    files = [asked.path for asked in bench.hub.asked if "/resolve/" in asked.path]
    assert files
    assert all(f"/resolve/{bench.hub.repo().commit}/" in path for path in files)


def test_a_large_file_that_was_pulled_is_known_by_its_whole_hash(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "WHOLE_FILE_LIMIT", 1000)
    monkeypatch.setattr(fingerprints, "_SAMPLE", 100)
    file = gguf(bench, "big-Q8_0.gguf", tensors=5)
    done = bench.pull("owner/model")
    assert done.build is not None
    assert done.build.sha256 == file.sha256
    (again,) = bench.library().builds()
    assert again.sha256 == file.sha256


def test_a_second_build_of_a_repository_shares_the_folder_and_the_projector(bench: Bench) -> None:
    gguf(bench, "see-Q8_0.gguf", value=1)
    gguf(bench, "see-Q4_K_M.gguf", value=2)
    gguf(bench, "mmproj-F16.gguf", architecture="clip", kind="mmproj")
    bench.pull("owner/model:Q8_0")
    done = bench.pull("owner/model:Q4_K_M")
    assert [file.name for file in done.fetched] == ["see-Q4_K_M.gguf"]
    builds = {build.id: build for build in bench.library().builds()}
    assert set(builds) == {"see:Q8_0", "see:Q4_K_M"}
    assert all(build.projector and build.projector.name == "mmproj-F16.gguf" for build in builds.values())
    assert bench.hub.served("mmproj-F16.gguf") == len(bench.hub.repo().files["mmproj-F16.gguf"].content)


def test_what_is_here_is_not_fetched_again(bench: Bench) -> None:
    gguf(bench, "small-Q8_0.gguf")
    bench.pull("owner/model")
    before = bench.hub.served("small-Q8_0.gguf")
    done = bench.pull("owner/model:Q8_0")
    assert done.build is not None
    assert done.fetched == ()
    assert bench.hub.served("small-Q8_0.gguf") == before


def test_a_build_that_another_folder_holds_is_not_fetched_either(bench: Bench) -> None:
    file = gguf(bench, "small-Q8_0.gguf")
    (bench.models / "mine").mkdir(parents=True)
    (bench.models / "mine" / "other-name.gguf").write_bytes(file.content)
    done = bench.pull("owner/model")
    assert done.is_copy
    assert done.build is not None
    assert done.build.path == bench.models / "mine" / "other-name.gguf"
    assert bench.hub.served("small-Q8_0.gguf") == 0


def test_a_new_commit_replaces_the_file_of_that_name(bench: Bench) -> None:
    gguf(bench, "small-Q8_0.gguf", value=1)
    bench.pull("owner/model")
    newer = gguf(bench, "small-Q8_0.gguf", value=2)
    done = bench.pull("owner/model")
    assert done.build is not None
    assert done.build.sha256 == newer.sha256
    assert list(bench.held().values()) == [newer.content]


def test_split_files_come_together_and_lie_beside_their_projector(bench: Bench) -> None:
    for number in (1, 2, 3):
        extra = {"split.no": number - 1, "split.count": 3}
        gguf(bench, f"Q8_0/big-Q8_0-0000{number}-of-00003.gguf", extra=extra, value=number)
    gguf(bench, "mmproj-F16.gguf", architecture="clip", kind="mmproj")
    done = bench.pull("owner/model")
    assert done.build is not None
    assert done.build.id == "big:Q8_0"
    assert done.build.projector == bench.models / "owner--model" / "mmproj-F16.gguf"
    assert len(bench.held()) == 4


def test_files_that_would_become_one_keep_their_folders(bench: Bench) -> None:
    gguf(bench, "Q8_0/model.gguf", value=1)
    gguf(bench, "Q4_0/model.gguf", value=2)
    for quant in ("Q8_0", "Q4_0"):
        bench.pull(f"owner/model:{quant}")
    assert set(bench.held()) == {"models/owner--model/Q8_0/model.gguf", "models/owner--model/Q4_0/model.gguf"}


def add_pipeline(bench: Bench, repo: str = "owner/model") -> None:
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
             "vae": ["diffusers", "AutoencoderKL"], "scheduler": ["diffusers", "DDIMScheduler"]}  # fmt: skip
    scratch = bench.root.with_name("scratch")
    for name, fill in (
        ("unet/diffusion_pytorch_model.safetensors", 1),
        ("unet/diffusion_pytorch_model.fp16.safetensors", 2),
        ("vae/diffusion_pytorch_model.safetensors", 3),
    ):
        written = stores.write_safetensors(scratch / name, ("conv_in.weight",), fill)
        bench.hub.repo(repo).add(name, written.read_bytes())
    for name in ("unet/config.json", "vae/config.json", "scheduler/scheduler_config.json"):
        bench.hub.repo(repo).add(name, b"{}", is_lfs=False)
    bench.hub.repo(repo).add("model_index.json", json.dumps(index).encode(), is_lfs=False)
    bench.hub.repo(repo).add("unet/diffusion_pytorch_model.bin", b"a pickle")


def test_a_pipeline_is_a_folder_without_pickles(bench: Bench) -> None:
    add_pipeline(bench)
    done = bench.pull("owner/model")
    assert done.build is not None
    assert (done.build.id, done.build.kind, done.build.path) == ("model:f16", "image", bench.models / "owner--model")
    assert set(bench.held()) == {f"models/owner--model/{name}" for name in (
        "model_index.json", "unet/config.json", "vae/config.json", "scheduler/scheduler_config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.safetensors",
    )}  # fmt: skip


def test_another_precision_of_a_pipeline_has_a_folder_of_its_own(bench: Bench) -> None:
    add_pipeline(bench)
    bench.pull("owner/model")
    done = bench.pull("owner/model:F32")
    assert done.build is not None
    assert (done.build.id, done.build.path.name) == ("model:f32", "owner--model--f32")
    assert bench.pull("owner/model:F32").fetched == ()


class Unsized(Stored):
    """A hub that tells sizes and hashes only in the pages of the tree."""

    def sibling(self) -> dict[str, object]:
        return {"rfilename": self.path}


def test_sizes_that_the_revision_leaves_out_are_read_page_by_page(bench: Bench) -> None:
    written = gguf(bench, "zz-Q8_0.gguf")
    bench.hub.page_size = 10
    for number in range(35):
        bench.hub.repo().files[f"{number:03d}.txt"] = Unsized(f"{number:03d}.txt", b"x", is_lfs=False)
    bench.hub.repo().files["zz-Q8_0.gguf"] = Unsized("zz-Q8_0.gguf", written.content)
    bench.pull("owner/model", agrees=False)
    (wanted,) = bench.asked[0].plan.files
    assert (wanted.size, wanted.sha256) == (len(written.content), written.sha256)
    assert sum("/tree/" in asked.path for asked in bench.hub.asked) == 4


def test_a_mirror_is_asked_instead_and_gets_no_token_of_another(bench: Bench) -> None:
    gguf(bench, "small-Q8_0.gguf")
    done = bench.pull("https://huggingface.co/owner/model/blob/main/small-Q8_0.gguf")
    assert done.prepared.plan.endpoint == bench.hub.endpoint
    assert bench.hub.authorizations("hub") == {""}


def test_a_gated_model_is_refused_with_the_page_where_its_licence_is(bench: Bench) -> None:
    gguf(bench, "small-Q8_0.gguf")
    bench.hub.repo().is_gated = True
    with pytest.raises(AccessRefused) as refused:
        bench.pull("owner/model")
    assert f"{bench.hub.endpoint}/owner/model" in refused.value.hint
    assert "models token" in refused.value.hint
    assert bench.held() == {}


def test_a_gated_model_comes_with_the_token_of_an_account_that_accepted(bench: Bench) -> None:
    file = gguf(bench, "small-Q8_0.gguf")
    bench.hub.repo().is_gated = True
    bench.hub.accounts = {"good": {"owner/model"}, "other": set()}
    bench.token = "other"
    with pytest.raises(AccessRefused):
        bench.pull("owner/model")
    bench.token = "good"
    done = bench.pull("owner/model")
    assert done.prepared.plan.terms.gated == "manual"
    assert done.prepared.plan.terms.need_consent
    assert list(bench.held().values()) == [file.content]
    assert bench.hub.authorizations("cdn") == {""}


@pytest.mark.parametrize("name", [name for name in HOSTILE_NAMES if name.lower().endswith(".gguf")])
def test_a_name_that_leads_elsewhere_is_refused_and_nothing_is_written(bench: Bench, name: str) -> None:
    written = stores.write_gguf(bench.root.with_name("scratch") / "x")
    bench.hub.repo().add(name, written.read_bytes())
    with pytest.raises(UsageError):
        bench.pull("owner/model")
    assert bench.held() == {}
    assert {path.name for path in bench.root.parent.iterdir()} <= {"home", "scratch"}


def test_a_projector_with_a_bad_name_refuses_the_whole_pull(bench: Bench) -> None:
    gguf(bench, "see-Q8_0.gguf")
    bench.hub.repo().add("../mmproj-F16.gguf", b"x")
    with pytest.raises(UsageError, match="refused"):
        bench.pull("owner/model")
    assert bench.held() == {}


def stop_half_way(bench: Bench) -> None:
    def stop(now: Progress, control: Control) -> None:
        if now.stage is Stage.FETCHING and now.done:
            control.stop()

    bench.on_progress = stop


def big(bench: Bench, name: str = "big-Q8_0.gguf", repo: str = "owner/model") -> Stored:
    """Three megabytes, so that a stop comes in between."""
    return gguf(bench, name, repo, rows=12_000)


def test_a_pull_that_was_stopped_goes_on_where_it_was(bench: Bench) -> None:
    file = big(bench)
    stop_half_way(bench)
    with pytest.raises(TransferFailed, match="stopped"):
        bench.pull("owner/model")
    assert bench.library().builds() == ()
    assert bench.library().problems() == ()
    (left,) = staging.unfinished(bench.models)
    assert 0 < left.done < len(file.content)
    (note,) = staging.notes(bench.models)
    assert note.startswith("big-Q8_0.gguf: ")
    assert note.endswith("fetched: nanolocal models pull owner/model goes on")
    bench.on_progress = lambda now, control: None
    before = bench.hub.served(file.path)
    done = bench.pull("owner/model")
    assert done.prepared.is_resumed
    assert done.build is not None
    assert list(bench.held().values()) == [file.content]
    assert bench.hub.served(file.path) - before < len(file.content)
    assert list(staging.unfinished(bench.models)) == []


def test_a_pull_goes_on_at_the_commit_it_began_with(bench: Bench) -> None:
    file = big(bench)
    stop_half_way(bench)
    with pytest.raises(TransferFailed):
        bench.pull("owner/model")
    began_with = bench.hub.repo().commit
    gguf(bench, "newer-Q8_0.gguf")
    bench.on_progress = lambda now, control: None
    done = bench.pull("owner/model")
    assert done.prepared.plan.commit == began_with != bench.hub.repo().commit
    assert list(bench.held().values()) == [file.content]


def test_a_record_that_was_changed_reaches_no_other_place(bench: Bench) -> None:
    big(bench)
    stop_half_way(bench)
    with pytest.raises(TransferFailed):
        bench.pull("owner/model")
    (left,) = staging.unfinished(bench.models)
    record = left.folder / staging.RECORD
    whole = json.loads(record.read_text())
    changes: list[dict[str, object]] = [
        {"folder": "../elsewhere"}, {"files": [{**whole["files"][0], "name": "../x.gguf"}]}, {"version": 9},
        {"files": None}, {"shape": "strange"}, {"terms": []}, {"typed": 3},
    ]  # fmt: skip
    for change in changes:
        record.write_text(json.dumps({**whole, **change}))
        assert list(staging.unfinished(bench.models)) == []
    record.write_text("{")
    assert staging.notes(bench.models) == []


def test_a_kill_after_the_last_file_leaves_no_note(bench: Bench) -> None:
    gguf(bench, "small-Q8_0.gguf")
    done = bench.pull("owner/model")
    staging.begin(bench.models, done.prepared.plan)
    assert staging.notes(bench.models)
    assert bench.pull("owner/model").build is not None
    assert staging.notes(bench.models) == []


def test_a_file_of_the_user_is_never_replaced(bench: Bench) -> None:
    file = gguf(bench, "small-Q8_0.gguf")
    own = bench.models / "owner--model" / "small-Q8_0.gguf"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    done = bench.pull("owner/model")
    assert done.build is not None
    assert own.read_bytes() == b"mine"
    assert done.build.path.read_bytes() == file.content


def test_a_licence_is_asked_for_once_for_all_builds_of_a_repository(bench: Bench) -> None:
    gguf(bench, "m-Q8_0.gguf", value=1)
    gguf(bench, "m-Q4_0.gguf", value=2)
    bench.hub.repo().card = {"license": "other", "license_name": "strict", "license_link": "https://example.org/l"}
    bench.pull("owner/model:Q8_0", agrees=False)
    assert bench.asked[0].needs_consent
    assert bench.asked[0].plan.terms.shown == "strict, https://example.org/l"
    bench.pull("owner/model:Q8_0")
    bench.pull("owner/model:Q4_0", agrees=False)
    assert not bench.asked[0].needs_consent


def test_what_was_pulled_is_forgotten_when_it_is_removed(bench: Bench) -> None:
    gguf(bench, "a-Q8_0.gguf", rows=68_000)
    gguf(bench, "b-Q4_0.gguf", value=2)
    for quant in ("Q8_0", "Q4_0"):
        bench.pull(f"owner/model:{quant}")
    library = bench.library()
    removal.carry_out(removal.plan(library, "a:Q8_0", bench.models), library, bench.models)
    assert list((bench.models / hashes.FOLDER).iterdir()) == []
    assert "a-Q8_0.gguf" not in (bench.models / "owner--model" / "card.json").read_text()
    removal.carry_out(removal.plan(library, "b:Q4_0", bench.models), library, bench.models)
    assert not (bench.models / "owner--model").exists()
    assert bench.pull("owner/model:Q4_0").fetched


def test_discarding_leaves_nothing(bench: Bench) -> None:
    big(bench)
    stop_half_way(bench)
    with pytest.raises(TransferFailed):
        bench.pull("owner/model")
    for left in staging.unfinished(bench.models):
        left.discard()
    assert bench.held() == {}
    assert not (bench.models / UNFINISHED).exists()


def test_a_build_that_fits_is_chosen_and_one_by_name_whatever_it_takes(bench: Bench) -> None:
    _, large = gguf(bench, "m-Q4_K_M.gguf"), gguf(bench, "m-Q8_0.gguf", rows=68_000)
    bench.pick = best_that_fits(310 * 10**6, 1e15)  # of these, 302 MB are for all that is not weights
    bench.pull("owner/model", agrees=False)
    assert bench.asked[0].plan.label == "Q4_K_M"
    bench.pick = best_that_fits(100, 1e15)
    with pytest.raises(NoBuildFits):
        bench.pull("owner/model")
    done = bench.pull("owner/model:Q8_0")
    assert list(bench.held().values()) == [large.content]
    assert done.build is not None


def test_a_file_of_the_repository_by_name(bench: Bench) -> None:
    gguf(bench, "a-Q8_0.gguf", value=1)
    other = gguf(bench, "b-Q8_0.gguf", value=2)
    bench.pull("owner/model", "b-Q8_0.gguf")
    assert list(bench.held().values()) == [other.content]


def test_a_plain_address_and_all_parts_of_a_split_file(bench: Bench) -> None:
    for number in (1, 2):
        extra = {"split.no": number - 1, "split.count": 2}
        gguf(bench, f"big-Q8_0-0000{number}-of-00002.gguf", extra=extra, value=number)
    done = bench.pull(f"{bench.hub.endpoint}/files/big-Q8_0-00001-of-00002.gguf?key=secret")
    assert done.build is not None
    assert done.build.id == "big:Q8_0"
    assert len(bench.held()) == 2
    assert "secret" not in "".join(path.read_text() for path in bench.models.rglob("card.json"))
    assert bench.pull(f"{bench.hub.endpoint}/files/big-Q8_0-00001-of-00002.gguf?key=secret").fetched == ()


def test_a_secret_in_an_address_is_never_kept_and_a_new_one_goes_on(bench: Bench) -> None:
    for number in (1, 2):
        extra = {"split.no": number - 1, "split.count": 2}
        gguf(bench, f"big-Q8_0-0000{number}-of-00002.gguf", extra=extra, value=number, rows=8000)
    url = f"{bench.hub.endpoint}/files/big-Q8_0-00001-of-00002.gguf"
    bench.on_progress = lambda now, control: control.stop() if "00002-of" in now.name and now.done else None
    with pytest.raises(TransferFailed):
        bench.pull(f"{url}?key=secret1")
    assert not [path for path in bench.root.rglob("*") if path.is_file() and b"secret1" in path.read_bytes()]
    bench.on_progress = lambda now, control: None
    before = bench.hub.served("big-Q8_0-00001-of-00002.gguf")
    done = bench.pull(f"{url}?key=secret2")
    assert done.prepared.is_resumed
    assert len(bench.held()) == 2
    assert bench.hub.served("big-Q8_0-00001-of-00002.gguf") == before
    assert bench.hub.asked[-1].path.endswith("?key=secret2")


def test_a_file_that_is_no_model_is_said_to_be_none(bench: Bench) -> None:
    bench.hub.repo().add("small-Q8_0.gguf", b"not a GGUF at all, however it is called")
    with pytest.raises(Damaged, match="not usable"):
        bench.pull("owner/model")


def test_a_projector_alone_is_a_part(bench: Bench) -> None:
    gguf(bench, "mmproj-F16.gguf", architecture="clip", kind="mmproj")
    done = bench.pull(f"{bench.hub.endpoint}/files/mmproj-F16.gguf")
    assert done.build is None
    assert len(done.fetched) == 1


@pytest.mark.parametrize(("names", "says"), [
    (("config.json", "model.safetensors"), "for transformers"),
    (("pytorch_model.bin",), "pickled"),
    (("README.md",), "neither GGUF"),
])  # fmt: skip
def test_a_repository_without_builds_says_why_and_where_else(bench: Bench, names: tuple[str, ...], says: str) -> None:
    for name in names:
        bench.hub.repo("Qwen/Qwen3-4B").add(name, b"{}")
    with pytest.raises(UsageError, match=says) as refused:
        bench.pull("Qwen/Qwen3-4B", catalogue=shelf.load())
    assert "Qwen/Qwen3-4B-GGUF" in refused.value.hint


@pytest.mark.parametrize("answer", [
    [], {}, {"sha": "main"}, {"sha": "A" * 40}, {"sha": "a" * 40}, {"sha": "a" * 40, "siblings": {}},
    {"sha": "a" * 40, "siblings": [1]}, {"sha": "a" * 40, "siblings": [{"rfilename": 7}]},
    {"sha": "a" * 40, "siblings": [{"rfilename": ""}]}, {"sha": "a" * 40, "siblings": [{"rfilename": "x" * 2000}]},
])  # fmt: skip
def test_answers_that_make_no_sense_are_no_plan(bench: Bench, answer: object) -> None:
    with answering(json.dumps(answer).encode()) as endpoint:
        bench.endpoint = endpoint
        with pytest.raises(TransferFailed, match="makes no sense"):
            bench.pull("owner/model")
    assert bench.held() == {}


def test_hashes_of_chunks_are_kept_for_repair(bench: Bench) -> None:
    file = gguf(bench, "big-Q8_0.gguf", rows=68_000)
    bench.pull("owner/model")
    known = hashes.known(bench.models, "big-Q8_0.gguf", file.sha256)
    assert known is not None
    assert (known.size, len(known.chunks)) == (len(file.content), -(-len(file.content) // known.chunk_bytes))
    assert len(known.chunks) > 1
    record = bench.models / hashes.FOLDER / f"{file.sha256}.json"
    record.write_text(record.read_text().replace(known.chunks[0].hex(), "zz"))
    assert hashes.known(bench.models, "big-Q8_0.gguf", file.sha256) is None


def test_a_disk_that_would_be_full_is_said_before_anything_comes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    gguf(bench, "small-Q8_0.gguf")
    whole = shutil.disk_usage(bench.root.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: whole._replace(free=2**30))
    with pytest.raises(UsageError, match="are needed"):
        bench.pull("owner/model")
    assert bench.held() == {}


def test_progress_counts_all_files_of_a_build(bench: Bench) -> None:
    for number in (1, 2):
        extra = {"split.no": number - 1, "split.count": 2}
        gguf(bench, f"big-Q8_0-0000{number}-of-00002.gguf", extra=extra, rows=2000)
    done = bench.pull("owner/model")
    totals = {now.total for now in bench.told}
    assert totals == {done.prepared.plan.size}
    assert max(now.done for now in bench.told) == done.prepared.plan.size


def test_two_hubs_do_not_share_what_was_begun(bench: Bench, tmp_path: Path) -> None:
    big(bench)
    stop_half_way(bench)
    with pytest.raises(TransferFailed):
        bench.pull("owner/model")
    with Hub().running() as other:
        other.repos = bench.hub.repos
        bench.endpoint, bench.on_progress = other.endpoint, lambda now, control: None
        assert not bench.pull("owner/model").prepared.is_resumed
