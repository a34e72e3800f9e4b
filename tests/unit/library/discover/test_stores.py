"""Every store in its real layout: all found, under the names that people know."""

import json
import os
from pathlib import Path

import pytest

from nanolocal.chat.routes import Kind
from nanolocal.library.discover import yamls
from nanolocal.library.discover.scan import merged_entries
from nanolocal.library.discover.stores import usual_targets
from nanolocal.library.discover.system import System
from tests.fakes import stores
from tests.unit.library.discover.reading import at_home, in_folder, names, parts, reasons


def test_ollama_models_have_the_names_that_ollama_shows(tmp_path: Path) -> None:
    models = tmp_path / ".ollama" / "models"
    one, two, eye = (stores.write_gguf(tmp_path / n, n, value=i) for i, n in enumerate("abc"))
    stores.write_gguf(eye, "eye", architecture="clip", kind="mmproj")
    stores.write_ollama(models, "registry.ollama.ai/library/qwen3/4b", one)
    stores.write_ollama(models, "registry.ollama.ai/library/qwen3/latest", one)
    stores.write_ollama(models, "registry.ollama.ai/anna/llava/7b", two, eye)
    stores.write_ollama(models, "hf.co/org/model-GGUF/Q4_K_M", two)
    (report,) = at_home(tmp_path)
    assert names(report) == [
        "anna/llava:7b (Ollama)",
        "hf.co/org/model-GGUF:Q4_K_M (Ollama)",
        "qwen3:4b (Ollama)",
        "qwen3:latest (Ollama)",
    ]
    by_name = {entry.known_as: build for build, entry in report.builds}
    assert by_name["qwen3:4b"].id == "qwen3-4b:Q8_0"
    assert by_name["qwen3:latest"].id == "qwen3:Q8_0"
    projector = by_name["anna/llava:7b"].projector
    assert projector is not None and projector.read_bytes() == eye.read_bytes()
    assert reasons(report) == []


def test_ollama_is_found_where_it_was_told_to_keep_models(tmp_path: Path) -> None:
    stores.write_ollama(tmp_path / "disk", "registry.ollama.ai/library/a/1b", stores.write_gguf(tmp_path / "a"))
    assert names(*at_home(tmp_path, OLLAMA_MODELS=str(tmp_path / "disk"))) == ["a:1b (Ollama)"]
    service = System(tmp_path, {}, "linux", tmp_path / "root")
    (tmp_path / "root" / "usr" / "share" / "ollama" / ".ollama" / "models").mkdir(parents=True)
    assert [target.store.name for target in usual_targets(service)] == ["Ollama"]


def test_what_ollama_cannot_give_is_refused_with_the_reason(tmp_path: Path) -> None:
    models = tmp_path / ".ollama" / "models"
    weights = stores.ollama_blob(models, stores.write_gguf(tmp_path / "a").read_bytes())
    adapter = stores.ollama_blob(models, stores.write_gguf(tmp_path / "b", kind="adapter").read_bytes())
    stores.ollama_manifest(models, "registry.ollama.ai/library/cloudy/671b-cloud", {})
    stores.ollama_manifest(models, "registry.ollama.ai/library/mlx/1b", {"tensor": weights})
    stores.ollama_manifest(models, "registry.ollama.ai/library/gone/1b", {"model": "sha256:" + "ab" * 32})
    stores.ollama_manifest(models, "registry.ollama.ai/library/tuned/1b", {"model": weights, "adapter": adapter})
    (report,) = at_home(tmp_path)
    assert names(report) == []
    assert [role for role, _ in parts(report)] == ["adapter"]
    said = "\n".join(reasons(report))
    for reason in ("no weights on this machine", "tensor files", "missing from the blobs", "adapters are not applied"):
        assert reason in said


def test_lm_studio_in_its_old_and_new_home(tmp_path: Path) -> None:
    new, old = tmp_path / ".lmstudio" / "models", tmp_path / ".cache" / "lm-studio" / "models"
    stores.write_gguf(new / "lmstudio-community" / "Gemma-3-4B-GGUF" / "gemma-3-4b-Q4_K_M.gguf", "g", value=1)
    eye = new / "lmstudio-community" / "Gemma-3-4B-GGUF" / "mmproj-model-f16.gguf"
    stores.write_gguf(eye, architecture="clip", kind="mmproj")
    stores.write_gguf(old / "TheBloke" / "Old-GGUF" / "old.Q8_0.gguf", "o", value=2)
    reports = at_home(tmp_path)
    assert names(*reports) == [
        "TheBloke/Old-GGUF/old.Q8_0.gguf (LM Studio)",
        "lmstudio-community/Gemma-3-4B-GGUF/gemma-3-4b-Q4_K_M.gguf (LM Studio)",
    ]
    builds = {build.id: build for report in reports for build, _ in report.builds}
    assert builds["gemma-3-4b:Q4_K_M"].projector == eye
    assert builds["old:Q8_0"].projector is None


def test_lm_studio_where_the_user_moved_it(tmp_path: Path) -> None:
    home = tmp_path / "elsewhere"
    stores.write_gguf(home / "models" / "a" / "b" / "c.gguf")
    (tmp_path / ".lmstudio-home-pointer").write_text(f"{home}\n")
    stores.write_gguf(tmp_path / "disk" / "d" / "e" / "f.gguf", "other")
    (home / "settings.json").write_text(json.dumps({"downloadsFolder": str(tmp_path / "disk")}))
    assert names(*at_home(tmp_path)) == ["a/b/c.gguf (LM Studio)", "d/e/f.gguf (LM Studio)"]


def test_jan_by_its_model_files(tmp_path: Path) -> None:
    data = tmp_path / ".local" / "share" / "Jan" / "data"
    place = stores.write_jan(data, "janhq/Jan-v3-4B", "llamacpp/models/janhq/Jan-v3-4B/model.gguf",
                             "llamacpp/models/janhq/Jan-v3-4B/mmproj.gguf")  # fmt: skip
    stores.write_gguf(place / "model.gguf", "jan")
    stores.write_gguf(place / "mmproj.gguf", architecture="clip", kind="mmproj")
    imported = stores.write_gguf(tmp_path / "Downloads" / "mine-Q4_0.gguf", "mine", value=2)
    stores.write_jan(data, "mine", str(imported))
    stores.write_gguf(data / "models" / "older" / "older-Q5_0.gguf", "older", value=3)
    (report,) = at_home(tmp_path)
    assert names(report) == ["janhq/Jan-v3-4B (Jan)", "mine (Jan)", "older-Q5_0.gguf (Jan)"]
    builds = {entry.known_as: build for build, entry in report.builds}
    assert builds["janhq/Jan-v3-4B"].id == "jan-v3-4b:Q8_0"
    assert builds["janhq/Jan-v3-4B"].projector == place / "mmproj.gguf"
    assert builds["mine"].path == imported


@pytest.mark.parametrize("how", ["variable", "settings", "old"])
def test_jan_where_its_data_folder_is(tmp_path: Path, how: str) -> None:
    data = tmp_path / ("jan" if how == "old" else "disk")
    place = stores.write_jan(data, "m", "llamacpp/models/m/model.gguf")
    stores.write_gguf(place / "model.gguf")
    if how == "settings":
        (tmp_path / ".config" / "Jan").mkdir(parents=True)
        (tmp_path / ".config" / "Jan" / "settings.json").write_text(json.dumps({"data_folder": str(data)}))
    environ = {"JAN_DATA_FOLDER": str(data)} if how == "variable" else {}
    assert names(*at_home(tmp_path, **environ)) == ["m (Jan)"]


def test_gpt4all_and_its_old_files(tmp_path: Path) -> None:
    folder = tmp_path / ".local" / "share" / "nomic.ai" / "GPT4All"
    stores.write_gguf(folder / "Meta-Llama-3-8B-Instruct.Q4_0.gguf")
    (folder / "incomplete-other.gguf").write_bytes(b"GGUF")
    (folder / "ggml-gpt4all-j.bin").write_bytes(b"lmgg" + bytes(20))
    (report,) = at_home(tmp_path)
    assert names(report) == ["Meta-Llama-3-8B-Instruct.Q4_0.gguf (GPT4All)"]
    assert [build.id for build, _ in report.builds] == ["meta-llama-3-8b-instruct:Q4_0"]
    assert reasons(report) == ["ggml-gpt4all-j.bin is a GGML file from before GGUF, which nothing reads any more"]


def test_gpt4all_in_the_folder_of_its_settings(tmp_path: Path) -> None:
    (tmp_path / ".config" / "nomic.ai").mkdir(parents=True)
    (tmp_path / ".config" / "nomic.ai" / "GPT4All.ini").write_text(f"[General]\nmodelPath={tmp_path / 'disk'}\n")
    stores.write_gguf(tmp_path / "disk" / "a.gguf")
    assert names(*at_home(tmp_path)) == ["a.gguf (GPT4All)"]


def test_llama_cpp_cache_by_its_manifests(tmp_path: Path) -> None:
    cache = tmp_path / ".cache" / "llama.cpp"
    stores.write_gguf(cache / "ggml-org_gemma-3-4b-it-GGUF_gemma-3-4b-it-Q4_K_M.gguf", "g")
    eye = cache / "ggml-org_gemma-3-4b-it-GGUF_mmproj-model-f16.gguf"
    stores.write_gguf(eye, architecture="clip", kind="mmproj")
    stores.write_gguf(cache / "user_other_plain-Q8_0.gguf", "p", value=2)
    manifest = {
        "ggufFile": {"rfilename": "gemma-3-4b-it-Q4_K_M.gguf"},
        "mmprojFile": {"rfilename": "mmproj-model-f16.gguf"},
    }
    (cache / "manifest=ggml-org=gemma-3-4b-it-GGUF=latest.json").write_text(json.dumps(manifest))
    (cache / "manifest=broken=one=x.json").write_text("[" * 100_000)
    (report,) = at_home(tmp_path)
    assert names(report) == ["ggml-org/gemma-3-4b-it-GGUF:latest (llama.cpp)", "user_other_plain-Q8_0.gguf (llama.cpp)"]
    builds = {build.id: build for build, _ in report.builds}
    assert builds["gemma-3-4b-it:Q4_K_M"].projector == eye
    assert builds["user-other-plain:Q8_0"].projector is None


def test_llama_cpp_cache_of_new_releases_is_read_as_what_it_is(tmp_path: Path) -> None:
    content = stores.write_gguf(tmp_path / "a").read_bytes()
    stores.write_hf_file(tmp_path / "lc", "ggml-org/tiny-GGUF", "tiny-Q8_0.gguf", content)
    assert names(*at_home(tmp_path, LLAMA_CACHE=str(tmp_path / "lc"))) == ["ggml-org/tiny-GGUF:Q8_0 (llama.cpp)"]


def test_hugging_face_cache_with_its_links(tmp_path: Path) -> None:
    hub = tmp_path / ".cache" / "huggingface" / "hub"
    link = stores.write_hf_file(hub, "org/m-GGUF", "m-Q4_0.gguf", stores.write_gguf(tmp_path / "a", "m").read_bytes())
    old = stores.write_gguf(tmp_path / "b", "older", value=2).read_bytes()
    stores.write_hf_file(hub, "org/m-GGUF", "m-Q4_0.gguf", old, commit="f" * 40)
    (hub / "models--org--m-GGUF" / "refs" / "main").write_text(stores.COMMIT)
    snapshot = stores.write_hf_folder(hub, "stabilityai/painter", stores.write_pipeline(tmp_path / "painter"))
    stores.write_hf_file(hub, "org/bert", "model.safetensors", b"x")
    stores.write_hf_file(hub, "org/bert", "config.json", b"{}")
    (hub / "datasets--org--d" / "snapshots").mkdir(parents=True)
    (hub / ".locks").mkdir()
    (report,) = at_home(tmp_path)
    assert names(report) == ["org/m-GGUF:Q4_0 (Hugging Face)", "stabilityai/painter (Hugging Face)"]
    builds = {build.id: build for build, _ in report.builds}
    assert builds["m:Q4_0"].path == link and link.is_symlink()
    assert (builds["painter:f16"].path, builds["painter:f16"].kind) == (snapshot, Kind.IMAGE)
    assert reasons(report) == ["org/bert is a safetensors model for transformers: get it as GGUF"]


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"])
def test_hugging_face_cache_where_it_was_moved(tmp_path: Path, variable: str) -> None:
    below = {"HF_HUB_CACHE": "", "HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub"}[variable]
    content = stores.write_gguf(tmp_path / "a").read_bytes()
    stores.write_hf_file(tmp_path / "disk" / below, "o/n", "x.gguf", content)
    assert names(*at_home(tmp_path, **{variable: str(tmp_path / "disk")})) == ["o/n/x.gguf (Hugging Face)"]


def write_comfyui(root: Path) -> None:
    models = root / "models"
    stores.write_safetensors(models / "checkpoints" / "dreamy_v8.safetensors", stores.SD15)
    stores.write_safetensors(models / "checkpoints" / "xl" / "big.safetensors", stores.SDXL)
    (models / "checkpoints" / "old.ckpt").write_bytes(b"PK\x03\x04")
    stores.write_safetensors(models / "loras" / "style.safetensors", stores.LORA)
    stores.write_safetensors(models / "vae" / "fine.safetensors", stores.VAE)
    stores.write_safetensors(models / "text_encoders" / "clip_l.safetensors", stores.CLIP)
    stores.write_gguf(models / "unet" / "flux1-dev-Q4_0.gguf", architecture="flux")
    stores.write_pipeline(models / "diffusers" / "folder")
    (models / "upscale_models").mkdir()
    (models / "upscale_models" / "4x.pth").write_bytes(b"PK\x03\x04")


def test_comfyui_by_the_tensors_of_its_files(tmp_path: Path) -> None:
    write_comfyui(tmp_path / "ComfyUI")
    (report,) = at_home(tmp_path)
    assert names(report) == [
        "dreamy_v8 (ComfyUI)", "flux1-dev-Q4_0 (ComfyUI)", "folder (ComfyUI)", "xl/big (ComfyUI)",
    ]  # fmt: skip
    builds = {entry.known_as: build for build, entry in report.builds}
    assert (builds["dreamy_v8"].kind, builds["dreamy_v8"].architecture) == (Kind.IMAGE, "StableDiffusionPipeline")
    assert builds["xl/big"].architecture == "StableDiffusionXLPipeline"
    assert builds["xl/big"].needs == "the configuration of its SDXL pipeline: a diffusers folder of that family"
    assert builds["flux1-dev-Q4_0"].needs == "the other parts of its Flux pipeline: a diffusers folder of that family"
    assert builds["folder"].needs == ""
    assert parts(report) == [
        ("adapter", "style.safetensors"),
        ("component", "clip_l.safetensors"),
        ("component", "fine.safetensors"),
    ]
    assert reasons(report) == ["old.ckpt is pickled, and unpickling runs code: get it as safetensors or GGUF"]


def test_folders_that_comfyui_was_told_of(tmp_path: Path) -> None:
    write_comfyui(tmp_path / "ComfyUI")
    webui = tmp_path / "webui"
    stores.write_safetensors(webui / "models" / "Stable-diffusion" / "a1.safetensors", stores.SD15, fill=1)
    stores.write_safetensors(webui / "models" / "Lora" / "l.safetensors", stores.LORA, fill=1)
    stores.write_safetensors(webui / "models" / "LyCORIS" / "c.safetensors", stores.LORA, fill=2)
    (tmp_path / "ComfyUI" / "extra_model_paths.yaml").write_text(
        f"#config\na111:\n    base_path: {webui}/\n\n    checkpoints: models/Stable-diffusion\n"
        "    configs: models/Stable-diffusion\n    loras: |\n         models/Lora\n         models/LyCORIS\n"
        "    embeddings: embeddings\n"
    )
    (report,) = at_home(tmp_path)
    assert "a1 (ComfyUI)" in names(report)
    assert [name for role, name in parts(report) if role == "adapter"] == [
        "c.safetensors",
        "l.safetensors",
        "style.safetensors",
    ]


def test_a1111_and_forge(tmp_path: Path) -> None:
    models = tmp_path / "stable-diffusion-webui" / "models"
    stores.write_safetensors(models / "Stable-diffusion" / "a1.safetensors", stores.SD15)
    stores.write_safetensors(models / "VAE" / "v.safetensors", stores.VAE)
    (report,) = at_home(tmp_path)
    assert (names(report), parts(report)) == (["a1 (ComfyUI)"], [("component", "v.safetensors")])


def test_a_folder_that_holds_whole_stores(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    one = stores.write_gguf(tmp_path / "a", "a", value=1)
    stores.write_ollama(disk / "ollama", "registry.ollama.ai/library/a/1b", one)
    stores.write_hf_file(disk / "hub", "o/n", "x.gguf", stores.write_gguf(tmp_path / "b", "b", value=2).read_bytes())
    stores.write_gguf(disk / "plain" / "c.gguf", "c", value=3)
    report = in_folder(disk)
    assert names(report) == ["a:1b (folder)", "c.gguf (folder)", "o/n/x.gguf (folder)"]


@pytest.mark.parametrize("store", ["Ollama", "Hugging Face", "ComfyUI", "Jan", "llama.cpp"])
def test_a_store_in_another_place_is_known_by_its_layout(tmp_path: Path, store: str) -> None:
    place = tmp_path / "moved"
    content = stores.write_gguf(tmp_path / "a")
    match store:
        case "Ollama":
            stores.write_ollama(place, "registry.ollama.ai/library/a/1b", content)
        case "Hugging Face":
            stores.write_hf_file(place, "o/n", "x.gguf", content.read_bytes())
        case "ComfyUI":
            write_comfyui(place)
        case "Jan":
            stores.write_gguf(stores.write_jan(place, "m", "llamacpp/models/m/model.gguf") / "model.gguf")
        case _:
            stores.write_gguf(place / "u_r_f.gguf")
            (place / "manifest=u=r=t.json").write_text("{}")
    report = in_folder(place)
    assert report.target.store.name == store
    assert report.builds


def test_the_places_of_a_mac(tmp_path: Path) -> None:
    support = tmp_path / "Library" / "Application Support"
    for place in (support / "nomic.ai" / "GPT4All", support / "Jan" / "data", tmp_path / "Library/Caches/llama.cpp"):
        place.mkdir(parents=True)
    found = {target.store.name for target in usual_targets(System(tmp_path, {}, "darwin"))}
    assert found == {"GPT4All", "Jan", "llama.cpp"}


def test_the_little_yaml_that_is_needed() -> None:
    text = "a: 1\nquoted: 'x # y'\nnote: x # y\nb:\n  c: |\n    one\n    two\n  d: 3\n- list\ne: 5\n"
    assert yamls.sections(text) == {
        "": {"a": "1", "quoted": "x # y", "note": "x", "e": "5"},
        "b": {"c": "one\ntwo", "d": "3"},
    }


def test_what_was_adopted_from_a_store_that_cannot_be_read_now_stays(tmp_path: Path) -> None:
    store = tmp_path / ".ollama" / "models"
    stores.write_ollama(store, "registry.ollama.ai/library/a/1b", stores.write_gguf(tmp_path / "a"))
    reports = at_home(tmp_path)
    before = [entry for report in reports for entry in report.entries()]
    (store / "manifests").rename(store / "aside")
    (store / "manifests").symlink_to("manifests")
    unreadable = at_home(tmp_path)
    assert reasons(*unreadable) == ["cannot be read: Too many levels of symbolic links"]
    assert merged_entries(before, unreadable) == before
    (store / "manifests").unlink()
    (store / "manifests").mkdir()
    assert merged_entries(before, at_home(tmp_path)) == []


def test_a_store_that_may_not_be_read_is_said_and_the_rest_goes_on(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    stores.write_ollama(
        tmp_path / ".ollama" / "models", "registry.ollama.ai/library/a/1b", stores.write_gguf(tmp_path / "a")
    )
    shut = tmp_path / ".lmstudio" / "models" / "shut"
    shut.mkdir(parents=True)
    shut.chmod(0)
    try:
        reports = at_home(tmp_path)
    finally:
        shut.chmod(0o700)
    assert names(*reports) == ["a:1b (Ollama)"]
    assert reasons(*reports) == ["cannot be read: Permission denied"]
