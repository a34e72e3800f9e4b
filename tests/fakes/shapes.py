"""One small model of each kind of memory that llama.cpp knows, as ``blank_gguf`` writes them."""

from tests.fakes.blank_gguf import Shape

_STATE = {"ssm.conv_kernel": 4, "ssm.inner_size": 512, "ssm.state_size": 64, "ssm.time_step_rank": 8,
          "ssm.group_count": 1}  # fmt: skip
_LATENT = {"attention.kv_lora_rank": 256, "attention.q_lora_rank": 128, "attention.key_length": 320,
           "attention.value_length": 256, "attention.key_length_mla": 128, "attention.value_length_mla": 64,
           "rope.dimension_count": 64, "leading_dense_block_count": 0, "expert_shared_count": 1}  # fmt: skip

SHAPES = {
    "full attention": Shape("llama"),
    "biased": Shape("qwen2"),
    "normed heads": Shape("qwen3", head=128),
    "fused": Shape("phi3", kv_heads=4),
    "experts": Shape("qwen3moe", experts=8, experts_used=2),
    "window, every other layer": Shape("gemma2", is_tied=True, more={"attention.sliding_window": 512}),
    "window, all but every sixth": Shape("gemma3", layers=7, is_tied=True, more={"attention.sliding_window": 512}),
    "latent": Shape("deepseek2", kv_heads=1, head=320, experts=4, experts_used=2, feed_forward=256, more=_LATENT),
    "state": Shape("mamba2", heads=0, kv_heads=0, feed_forward=0, more=_STATE),
    "state and attention in each layer": Shape("falcon-h1", more=_STATE),
    "convolution or attention": Shape("lfm2", layers=4, kv_heads=(0, 2, 0, 2), more={"shortconv.l_cache": 3}),
}
