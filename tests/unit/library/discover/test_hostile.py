"""Stores that mean harm: nothing outside them is reached, nothing takes long, every refusal has a reason."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanolocal.library.discover import folder, yamls
from nanolocal.library.walk import Walk
from nanolocal.safetext import safe_line
from tests.fakes import stores
from tests.unit.library.discover.reading import at_home, in_folder, names, reasons

LIBRARY = "registry.ollama.ai/library"


@pytest.mark.parametrize(
    "digest",
    [
        "../../../../etc/passwd",
        "sha256:../../../../etc/passwd",
        "/etc/passwd",
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 64 + "/../../x",
        "sha256:" + "a" * 64 + "\n",
        "sha256-" + "g" * 64,
        "",
        None,
        5,
        ["sha256:" + "a" * 64],
        {"sha256": 1},
    ],
)
def test_a_digest_that_is_none_leads_nowhere(tmp_path: Path, digest: object) -> None:
    models = tmp_path / "models"
    stores.ollama_blob(models, b"x")
    stores.ollama_manifest(models, f"{LIBRARY}/evil/1b", {"model": digest})
    report = in_folder(models)
    assert names(report) == []
    assert "which is no SHA-256" in reasons(report)[0]


@pytest.mark.parametrize(
    "content",
    [
        "[" * 200_000,
        '{"layers":' + "[" * 200_000,
        '{"layers": [[[[[[]]]]]], "layers": 7}',
        '{"layers": {"mediaType": 1}}',
        '{"layers": [1, null, "x", {"mediaType": null}, {"mediaType": []}]}',
        "null",
        '{"layers": [' + '{"mediaType":"application/vnd.ollama.image.model"},' * 2 + "{}]}",
        '{"a":' + "9" * 100_000 + "}",
        "\x00\xff",
        "",
    ],
)
def test_a_manifest_that_is_a_bomb_or_nonsense_is_refused(tmp_path: Path, content: str) -> None:
    models = tmp_path / "models"
    stores.ollama_blob(models, b"x")
    stores.ollama_manifest(models, f"{LIBRARY}/evil/1b", {}).write_text(content)
    report = in_folder(models)
    assert (names(report), len(reasons(report))) == ([], 1)


WORDS = st.sampled_from(["model", "application/vnd.ollama.image.model", "sha256:" + "a" * 64]) | st.text(max_size=20)
KEYS = st.sampled_from(["layers", "mediaType", "digest", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(content=JSON)
def test_any_manifest_is_refused_or_read(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    models = tmp_path_factory.getbasetemp() / "any" / "models"
    stores.ollama_blob(models, b"x")
    stores.ollama_manifest(models, f"{LIBRARY}/any/1b", {}).write_text(json.dumps(content))
    report = in_folder(models)
    assert (names(report), len(reasons(report))) == ([], 1)


@settings(max_examples=200, deadline=None)
@given(content=st.text(max_size=200))
def test_any_text_is_some_yaml(content: str) -> None:
    for section in yamls.sections(content).values():
        assert all(isinstance(value, str) for value in section.values())


def test_a_manifest_of_fifty_megabytes_is_not_read(tmp_path: Path) -> None:
    models = tmp_path / "models"
    stores.ollama_blob(models, b"x")
    with stores.ollama_manifest(models, f"{LIBRARY}/evil/1b", {}).open("r+b") as file:
        file.truncate(50 * 2**20)
    assert "more than 1024 KiB" in reasons(in_folder(models))[0]


def test_a_blob_that_leads_out_of_the_store_is_refused(tmp_path: Path) -> None:
    models = tmp_path / "models"
    outside = stores.write_gguf(tmp_path / "private.gguf")
    digest = stores.ollama_blob(models, outside.read_bytes())
    blob = models / "blobs" / digest.replace(":", "-")
    blob.unlink()
    blob.symlink_to(outside)
    stores.ollama_manifest(models, f"{LIBRARY}/evil/1b", {"model": digest})
    report = in_folder(models)
    assert names(report) == []
    assert "leads out of the store" in reasons(report)[0]


def test_a_blob_that_is_a_pipe_or_a_folder_is_not_opened(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for n, make in enumerate((os.mkfifo, os.mkdir)):
        digest = stores.ollama_blob(models, bytes([n]))
        blob = models / "blobs" / digest.replace(":", "-")
        blob.unlink()
        make(blob)
        stores.ollama_manifest(models, f"{LIBRARY}/evil/{n}b", {"model": digest})
    os.mkfifo(models / "manifests" / LIBRARY / "evil" / "pipe")
    report = in_folder(models)
    assert names(report) == []
    assert [reason.endswith("missing from the blobs") for reason in reasons(report)] == [True, True]


def test_a_name_with_control_characters_is_shown_harmless(tmp_path: Path) -> None:
    models = tmp_path / "models"
    digest = stores.ollama_blob(models, stores.write_gguf(tmp_path / "a").read_bytes())
    stores.ollama_manifest(models, f"{LIBRARY}/ev\x1b[2Jil/1b", {"model": digest})
    stores.ollama_manifest(models, f"{LIBRARY}/ok/1\u202eb", {"model": digest})
    report = in_folder(models)
    assert names(report) == []
    assert reasons(report) == ["is no name that Ollama would give to a model"] * 2
    stores.write_gguf(tmp_path / "plain" / "ev\x1b]0;x\x07il\r\n-Q8_0.gguf", "na\x1b[31mme")
    ((build, entry),) = in_folder(tmp_path / "plain").builds
    assert build.id == "ev-0-x-il:Q8_0"
    assert "\x1b" not in safe_line(entry.shown) + safe_line(build.name)


def test_a_name_that_is_no_utf8_does_not_end_the_scan(tmp_path: Path) -> None:
    stores.write_gguf(tmp_path / "m" / "fine.gguf")
    (tmp_path / "m" / "fine.gguf").rename(tmp_path / "m" / os.fsdecode(b"b\xff\xfe.gguf"))
    stores.write_gguf(tmp_path / "m" / "other.gguf", value=2)
    assert len(in_folder(tmp_path / "m").builds) == 2


@pytest.mark.parametrize("path", ["../../secret.gguf", "llamacpp/../../secret.gguf", "", "/etc/passwd", "/dev/zero"])
def test_jan_names_no_file_outside_its_folder_by_tricks(tmp_path: Path, path: str) -> None:
    stores.write_gguf(tmp_path / "secret.gguf")
    stores.write_jan(tmp_path / "jan", "m", path)
    report = in_folder(tmp_path / "jan")
    assert (names(report), len(reasons(report))) == ([], 1)


def test_a_jan_model_file_that_is_huge_or_binary_is_refused(tmp_path: Path) -> None:
    place = stores.write_jan(tmp_path / "jan", "m", "x")
    (place / "model.yml").write_bytes(b"\xff\xfe" * 10)
    assert "is not text" in reasons(in_folder(tmp_path / "jan"))[0]
    with (place / "model.yml").open("r+b") as file:
        file.truncate(50 * 2**20)
    assert "more than" in reasons(in_folder(tmp_path / "jan"))[0]


def test_a_link_out_of_the_hugging_face_cache_is_refused(tmp_path: Path) -> None:
    outside = stores.write_gguf(tmp_path / "private.gguf")
    link = stores.write_hf_file(tmp_path / "hub", "o/n", "x.gguf", b"y")
    link.unlink()
    link.symlink_to(outside)
    report = in_folder(tmp_path / "hub")
    assert (names(report), reasons(report)) == ([], ["x.gguf leads out of the cache"])


@pytest.mark.parametrize("commit", ["../../..", "/etc", "main", "z" * 40, ""])
def test_a_ref_that_is_no_commit_is_not_followed(tmp_path: Path, commit: str) -> None:
    content = stores.write_gguf(tmp_path / "a").read_bytes()
    stores.write_hf_file(tmp_path / "hub", "o/n", "x.gguf", content)
    (tmp_path / "hub" / "models--o--n" / "refs" / "main").write_text(commit)
    report = in_folder(tmp_path / "hub")
    assert [Path(entry.path).name for _, entry in report.builds] == ["x.gguf"]


def test_llama_cpp_manifests_name_no_file_outside_the_cache(tmp_path: Path) -> None:
    stores.write_gguf(tmp_path / "secret.gguf")
    cache = tmp_path / "cache"
    stores.write_gguf(cache / "plain.gguf")
    for n, name in enumerate(("../secret.gguf", "/etc/passwd", "a\0b", 5, None)):
        (cache / f"manifest=u=r=t{n}.json").write_text(json.dumps({"ggufFile": {"rfilename": name}}))
    report = in_folder(cache)
    assert [Path(entry.path).parent for _, entry in report.builds] == [cache]


def test_comfyui_configuration_nonsense_is_survived(tmp_path: Path) -> None:
    root = tmp_path / "ComfyUI"
    (root / "models" / "checkpoints").mkdir(parents=True)
    extra = root / "extra_model_paths.yaml"
    for content in (
        "a:\n  base_path: ~nobody-here\n  checkpoints: x\n",
        "a: [",
        "\t\x01: |",
        "checkpoints: /dev\n" * 9,
    ):
        extra.write_text(content)
        assert at_home(tmp_path)[0].builds == []
    with extra.open("r+b") as file:
        file.truncate(50 * 2**20)
    assert "more than" in reasons(*at_home(tmp_path))[0]


def test_loops_of_links_end(tmp_path: Path) -> None:
    root = tmp_path / "m"
    stores.write_gguf(root / "a" / "m.gguf")
    (root / "a" / "up").symlink_to(root)
    (root / "self").symlink_to("self")
    (root / "self.gguf").symlink_to("self.gguf")
    (root / "b").symlink_to(root / "a")
    (root / "gone.gguf").symlink_to("nothing")
    report = in_folder(root)
    assert [Path(entry.path).name for _, entry in report.builds] == ["m.gguf"]
    assert reasons(report) == []


def test_a_folder_that_is_too_deep_or_too_full_is_said(tmp_path: Path) -> None:
    deep = tmp_path / "m"
    stores.write_gguf(deep / "a.gguf")
    for n in range(12):
        deep = deep / f"{n}"
    stores.write_gguf(deep / "far.gguf")
    report = in_folder(tmp_path / "m")
    assert [Path(entry.path).name for _, entry in report.builds] == ["a.gguf"]
    assert "more than 8 levels down" in reasons(report)[0]
    for n in range(50):
        (tmp_path / "m" / f"{n}.txt").touch()
    walk = Walk(tmp_path / "m", max_files=20)
    assert [item for place in walk.folders() for item in folder.found_in(place)] == []
    assert "stopped after 20 files" in walk.problems[0].reason


def test_a_split_that_claims_a_hundred_thousand_parts_is_cheap(tmp_path: Path) -> None:
    stores.write_gguf(tmp_path / "m" / "x-00001-of-99999.gguf")
    stores.write_gguf(tmp_path / "m" / "y-00000-of-00000.gguf")
    assert len(reasons(in_folder(tmp_path / "m"))) <= 2
