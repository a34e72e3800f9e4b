"""The models of seven programs, in their real layouts with real files: all found, none copied, none ever deleted."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Program
from tests.fakes import stores
from tests.fakes.tiny_gguf import write_tiny_gguf
from tests.fakes.tiny_pipeline import write_tiny_pipeline

pytestmark = pytest.mark.slow


def furnish(user: Path, scratch: Path) -> None:
    """One model or more for every program that nanolocal knows, in the home of ``user``."""
    weights = write_tiny_gguf(scratch / "ollama.gguf", answer="Blue sky", seed=1, name="blob")
    eye = stores.write_gguf(scratch / "eye.gguf", architecture="clip", kind="mmproj")
    stores.write_ollama(user / ".ollama" / "models", "registry.ollama.ai/library/qwen3/4b", weights, eye)
    studio = user / ".lmstudio" / "models" / "publisher" / "Model-GGUF"
    studio.mkdir(parents=True)
    write_tiny_gguf(studio / "studio-F32.gguf", answer="Red moth", seed=2, name="studio")
    (studio / "linked-F32.gguf").symlink_to(studio / "studio-F32.gguf")
    data = user / ".local" / "share" / "Jan" / "data"
    place = stores.write_jan(data, "jan-m", "llamacpp/models/jan-m/model.gguf")
    stores.write_gguf(place / "model.gguf", "jan", value=3)
    stores.write_gguf(user / ".local" / "share" / "nomic.ai" / "GPT4All" / "g4a.Q4_0.gguf", "g4a", value=4)
    cache = user / ".cache" / "llama.cpp"
    stores.write_gguf(cache / "org_repo-GGUF_m-Q8_0.gguf", "lc", value=5)
    (cache / "manifest=org=repo-GGUF=latest.json").write_text(json.dumps({"ggufFile": {"rfilename": "m-Q8_0.gguf"}}))
    hub = user / ".cache" / "huggingface" / "hub"
    for number in (1, 2):
        part = stores.write_gguf(scratch / f"{number}", "hf", extra={"split.no": number - 1, "split.count": 2}, value=6)
        stores.write_hf_file(hub, "org/big-GGUF", f"Q4_K_M/big-Q4_K_M-{number:05d}-of-00002.gguf", part.read_bytes())
    stores.write_hf_folder(hub, "org/painter", write_tiny_pipeline(scratch / "painter"))
    comfy = user / "ComfyUI" / "models"
    stores.write_safetensors(comfy / "checkpoints" / "dreamy.safetensors", stores.SD15)
    stores.write_safetensors(comfy / "loras" / "style.safetensors", stores.LORA)
    (comfy / "checkpoints" / "old.ckpt").write_bytes(b"PK\x03\x04")


def test_every_store_is_found_used_in_place_and_never_touched(program: Program, tmp_path: Path) -> None:
    user = tmp_path / "user"
    (tmp_path / "scratch").mkdir()
    furnish(user, tmp_path / "scratch")
    before = stores.census(user)

    def run(*args: str) -> str:
        unset = ("OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "LLAMA_CACHE", "JAN_DATA_FOLDER",
                 "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")  # fmt: skip
        done = program(*args, HOME=str(user), **dict.fromkeys(unset, ""))
        assert done.returncode == 0, done.stderr
        return done.stdout

    found = json.loads(run("models", "scan", "--json"))
    assert (found["bytes_copied"], found["adopted"]) == (0, True)
    assert sorted(build["name"] for store in found["stores"] for build in store["builds"]) == [
        "dreamy (ComfyUI)",
        "g4a.Q4_0.gguf (GPT4All)",
        "jan-m (Jan)",
        "org/big-GGUF:Q4_K_M (Hugging Face)",
        "org/painter (Hugging Face)",
        "org/repo-GGUF:latest (llama.cpp)",
        "publisher/Model-GGUF/linked-F32.gguf (LM Studio)",
        "publisher/Model-GGUF/studio-F32.gguf (LM Studio)",
        "qwen3:4b (Ollama)",
    ]
    (refused,) = [item for store in found["stores"] for item in store["refused"]]
    assert "old.ckpt is pickled" in refused["reason"]
    listed = {
        build["name"]: build for build in json.loads(run("models", "list", "--json"))["builds"] if not build["tiny"]
    }
    assert len(listed) == 8
    assert listed["qwen3:4b (Ollama)"]["projector"]

    answer = json.loads(run("ask", "--model", "qwen3:4b", "--temperature", "0", "--json", "Hello"))
    assert (answer["text"], answer["build"]) == ("Blue sky", "qwen3-4b:unknown")
    picture = tmp_path / "p.png"
    run("image", "--model", "org/painter", "--steps", "1", "--size", "64x64", "--out", str(picture), "a red circle")
    assert picture.read_bytes().startswith(b"\x89PNG")
    route = json.loads(run("route", "--json", "Draw a red circle"))
    assert "needs the configuration of its Stable Diffusion" in next(
        item["reason"] for item in route["route"]["rejected"] if item["build_id"].startswith("dreamy")
    )

    for build in listed.values():
        assert run("models", "remove", build["build"], "--yes").startswith("forgot ")
    left = [build for build in json.loads(run("models", "list", "--json"))["builds"] if not build["tiny"]]
    assert left == []
    after = stores.census(user)
    assert after == before
