"""llama.cpp and ggml as the lab uses them: the only place of the room that imports ``llama_cpp``."""
