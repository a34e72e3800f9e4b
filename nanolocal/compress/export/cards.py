"""What lies beside an exported model: its vocabulary, and a card with every figure and how to run it."""

import json
from dataclasses import asdict
from pathlib import Path

import nanolocal
from nanolocal.compress.export.tasks import TARGETS, Export, Exported
from nanolocal.compress.torch.files import entries_of

VOCABULARY, CARD, PAGE = "vocabulary.json", "card.json", "README.md"
_METHOD = (
    "Scores are compared with those of the build computed by PyTorch in 32 bits. difference: the largest one of any "
    "score. KL divergence: mean over the second half of each piece of text, in nats, with its standard error. top-1: "
    "the share of tokens on whose most likely successor both agree."
)
_RUN = {
    "onnx": """import numpy, onnxruntime
session = onnxruntime.InferenceSession("{file}")
scores = session.run(["logits"], {{"tokens": numpy.array([[1, 2, 3]])}})[0]  # (texts, tokens, vocabulary)""",
    "litert": """import numpy
from ai_edge_litert.interpreter import Interpreter
model = Interpreter("{file}")
model.allocate_tensors()
tokens = numpy.zeros((1, {length}), model.get_input_details()[0]["dtype"])  # a shorter text comes first, then zeros
model.set_tensor(model.get_input_details()[0]["index"], tokens)
model.invoke()
scores = model.get_tensor(model.get_output_details()[0]["index"])  # (1, {length}, vocabulary)""",
    "executorch": """import torch
from executorch.runtime import Runtime
program = Runtime.get().load_program("{file}")
scores = program.load_method("forward").execute([torch.tensor([[1, 2, 3]])])[0]  # (1, tokens, vocabulary)""",
}


def write_vocabulary(source: Path, folder: Path) -> None:
    """All that the GGUF says about its tokenizer, and its chat template, under the names of its keys."""
    found = {key: entry.value for key, entry in entries_of(source).items() if key.startswith("tokenizer.")}
    (folder / VOCABULARY).write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


def write_card(task: Export, made: Exported, folder: Path) -> None:
    """``card.json`` for programs and ``README.md`` for people."""
    facts = {
        "of": task.name,
        "licence": task.licence,
        "source_sha256": task.source.sha256,
        "made_by": f"nanolocal {nanolocal.__version__}",
        "method": _METHOD,
        **asdict(made),
    }
    (folder / CARD).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / PAGE).write_text(_page(task, made), encoding="utf-8")


def _page(task: Export, made: Exported) -> str:
    whole = made.files[0]
    rows = "\n".join(
        f"| {file.name} | {file.kind} | {file.bytes:,} | {file.bytes / whole.bytes:.3f} | {file.difference:.2g} "
        f"| {file.kld:.2g} ± {file.error:.1g} | {file.top1:.1%} |"
        for file in made.files
    )
    length = f"Texts have {made.length} tokens. " if made.length else ""
    packages = ", ".join(f"{name} {version}" for name, version in made.packages)
    return f"""# {task.name} for {TARGETS[made.target].spoken}

Exported by nanolocal {nanolocal.__version__} from the build with SHA-256 {task.source.sha256 or "unknown"}, \
with {packages}.
Licence of the build: {task.licence or "not stated"}.

| file | weights | bytes | of 32 bits | difference | KL divergence | top-1 |
|---|---|---|---|---|---|---|
{rows}

{_METHOD} Measured on {made.tokens} tokens.

{length}Tokens are the numbers of `tokenizer.ggml.tokens` in `{VOCABULARY}`, which also has merges or scores, the
control tokens and the chat template.

```python
{_RUN[made.target].format(file=whole.name, length=made.length)}
```
"""
