"""Which architectures the text engine reads: what llama.cpp's own table says, and who else writes GGUF files."""

from collections.abc import Mapping

LLAMA_CPP = "llama-cpp-python 0.3.36"
"""Where the tables are from. ``ARCHITECTURES`` are those of src/llama-arch.cpp, ``LLM_ARCH_NAMES``, of which
llama-model.cpp makes a model; "clip" is loaded beside one."""
ARCHITECTURES = frozenset({
    "afmoe", "apertus", "arcee", "arctic", "arwkv7", "baichuan", "bailingmoe", "bailingmoe2", "bailingmoe3", "bert",
    "bitnet", "bloom", "chameleon", "chatglm", "codeshell", "cogvlm", "cohere2", "cohere2moe", "command-r", "dbrx",
    "deci", "deepseek", "deepseek2", "deepseek2-ocr", "deepseek32", "deepseek4", "dflash", "dots1", "dots3note",
    "dream", "eagle3", "ernie4_5", "ernie4_5-moe", "eurobert", "exaone", "exaone-moe", "exaone4", "falcon",
    "falcon-h1", "gemma", "gemma-embedding", "gemma2", "gemma3", "gemma3n", "gemma4", "gemma4-assistant", "glm-dsa",
    "glm4", "glm4moe", "glm5-next", "gpt-oss", "gpt2", "gptneox", "granite", "granite_swa", "granitehybrid",
    "granitemoe", "graniteswitch", "grok", "grovemoe", "hrm_text", "hunyuan-dense", "hunyuan-moe", "hunyuan_vl",
    "hy_v3", "hy_v4", "internlm2", "jais", "jais2", "jamba", "jina-bert-v2", "jina-bert-v3", "kimi-k3",
    "kimi-linear", "laguna", "lfm2", "lfm2moe", "llada", "llada-moe", "llama", "llama-embed", "llama4", "maincoder",
    "mamba", "mamba2", "maple", "mellum", "mimo2", "minicpm", "minicpm3", "minimax-01", "minimax-m2", "minimax-m3",
    "mistral3", "mistral4", "modern-bert", "mpt", "muse-glimmer", "nanbeige", "nemotron", "nemotron_h",
    "nemotron_h_moe", "neo-bert", "nomic-bert", "nomic-bert-moe", "olmo", "olmo2", "olmoe", "openelm", "orion",
    "paddleocr", "pangu-embedded", "phi2", "phi3", "phimoe", "plamo", "plamo2", "plamo3", "plm", "pockettts",
    "qwen", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen35", "qwen35moe", "qwen3moe", "qwen3next", "qwen3tts",
    "qwen3vl", "qwen3vlmoe", "qwen4exp", "refact", "rnd1", "rwkv6", "rwkv6qwen2", "rwkv7", "seed_oss",
    "smallthinker", "smollm3", "spark2_5", "stablelm", "starcoder", "starcoder2", "step35", "t5", "t5encoder",
    "talkie", "wavtokenizer-dec", "xverse",
})  # fmt: skip
WHOLE_HEAD_TURNED = frozenset({
    "apertus", "arcee", "arctic", "baichuan", "chameleon", "codeshell", "cogvlm", "cohere2moe", "dbrx", "deci",
    "deepseek", "dots1", "dream", "ernie4_5", "ernie4_5-moe", "exaone", "falcon", "grok", "grovemoe",
    "hunyuan-dense", "hunyuan-moe", "hunyuan_vl", "hy_v3", "internlm2", "jais2", "llada", "llada-moe", "llama",
    "llama-embed", "llama4", "maincoder", "mellum", "mistral3", "olmo", "olmo2", "olmoe", "orion", "paddleocr",
    "pangu-embedded", "plamo", "pockettts", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen3moe", "qwen3tts",
    "qwen3vl", "qwen3vlmoe", "rnd1", "seed_oss", "smallthinker", "smollm3", "starcoder2", "xverse",
})  # fmt: skip
"""Those whose graph asserts that position turns all of a head, which has one size for keys and values (src/models)."""
SAME_HEADS = WHOLE_HEAD_TURNED | {
    "afmoe", "bailingmoe2", "bert", "bitnet", "bloom", "chatglm", "cohere2", "command-r", "eagle3", "eurobert",
    "glm4", "glm4moe", "gpt2", "gptneox", "granitehybrid", "jais", "laguna", "minimax-01", "minimax-m2",
    "minimax-m3", "modern-bert", "mpt", "muse-glimmer", "nanbeige", "nemotron", "nemotron_h", "nemotron_h_moe",
    "neo-bert", "openelm", "phi2", "phi3", "qwen", "qwen35", "qwen35moe", "refact", "spark2_5", "stablelm",
    "starcoder", "t5",
}  # fmt: skip
"""Those whose graph asserts that keys and values have heads of one size."""
_OLLAMA_ONLY = frozenset({"deepseekocr", "glmocr", "gptoss", "mllama", "qwen25vl"})
"""Names that only Ollama's converter writes (ollama/ollama, convert/convert_*.go, ``general.architecture``)."""

OLLAMA = "Ollama's own engine (llama.cpp does not read its format)"


def missing_for(metadata: Mapping[str, object]) -> str:
    """What a text model with this metadata needs that is not here, in words; ``""`` for one that llama.cpp reads.

    Ollama keeps the eyes of a model in the same file and counts their layers in ``ARCHITECTURE.vision.block_count``.
    llama.cpp keeps them in a file of their own and refuses tensors that it did not ask for.
    """
    architecture = str(metadata.get("general.architecture"))
    if architecture in _OLLAMA_ONLY or f"{architecture}.vision.block_count" in metadata:
        return OLLAMA
    if architecture not in ARCHITECTURES:
        return f"a newer llama.cpp (it does not know {architecture[:40]!r})"
    return ""
