"""What llama.cpp was built with, asked in a child: loading it here would keep its memory and could wake a driver.

``python -I -m nanolocal.engines.abilities`` writes one JSON object.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass

from nanolocal.engines.isolation import isolate
from nanolocal.engines.launch import child_environment

_PATIENCE_S = 30


@dataclass(frozen=True, slots=True)
class Abilities:
    """Whether it can put layers on a graphics card, and which instructions it uses, in its own words."""

    gpu_offload: bool
    instructions: str


def ask() -> Abilities | None:
    """What the child says; ``None`` when it cannot load llama.cpp."""
    command = (sys.executable, "-I", "-X", "utf8", "-W", "ignore", "-m", "nanolocal.engines.abilities")
    try:
        said = subprocess.run(
            command, capture_output=True, timeout=_PATIENCE_S, check=True, env=child_environment(os.environ)
        ).stdout
        return Abilities(**json.loads(said))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return None


def find_out() -> Abilities:
    """Load llama.cpp into this process and look."""
    from nanolocal.engines.ggml import library

    loaded = library()
    words: bytes = loaded.llama_print_system_info()
    on = [part.split("=")[0].strip() for part in words.decode("utf-8", "replace").split("|") if part.endswith("= 1 ")]
    names = dict.fromkeys(name.rpartition(":")[2].strip() for name in on)
    return Abilities(bool(loaded.llama_supports_gpu_offload()), ", ".join(names))


if __name__ == "__main__":
    isolate("llama_cpp")
    sys.stdout.write(json.dumps(asdict(find_out())))
