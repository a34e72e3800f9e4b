"""The bounded header reader against real, cut off and hostile files."""

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES
from hypothesis import given, settings
from hypothesis import strategies as st

from nanolocal.errors import Damaged
from nanolocal.formats.gguf import read_facts
from nanolocal.formats.tensors import BLOCKS


@pytest.fixture(scope="module")
def real_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny")
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_merges(["a b"])
    writer.add_token_list(["a", "b", "c"])
    writer.add_eos_token_id(2)
    writer.add_tensor("token_embd.weight", np.ones((3, 32), dtype=np.float32))
    writer.add_tensor("output.weight", np.ones((3, 32), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def header(pairs: bytes = b"", n_pairs: int = 0, tensors: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, n_pairs) + pairs


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def test_it_reads_what_the_reference_writer_wrote(real_file: Path) -> None:
    facts = read_facts(real_file)
    assert facts.metadata["general.name"] == "Tiny"
    assert facts.metadata["llama.context_length"] == 128
    assert facts.lengths["tokenizer.ggml.tokens"] == 3
    assert (facts.tensors, facts.parameters) == (2, 192)


def test_block_sizes_are_those_of_the_reference_package() -> None:
    reference = {int(kind): tuple(sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
    assert {kind: reference[kind] for kind in BLOCKS} == BLOCKS


def test_a_file_cut_anywhere_is_refused(real_file: Path, tmp_path: Path) -> None:
    whole = real_file.read_bytes()
    cut = tmp_path / "cut.gguf"
    for size in range(0, len(whole), 7):
        cut.write_bytes(whole[:size])
        with pytest.raises(Damaged):
            read_facts(cut)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\x03\x04 not a model", "does not begin with GGUF"),
        (header(version=9), "version 9"),
        (header(n_pairs=2**60), "metadata entries"),
        (header(tensors=2**40), "tensors"),
        (header(struct.pack("<Q", 2**63), 1), "a text of"),
        (header(text("k") + struct.pack("<IIQ", 9, 4, 2**63), 1), "an array of"),
        (header(text("k") + struct.pack("<IIQ", 9, 9, 1), 1), "array inside an array"),
        (header(text("k") + struct.pack("<I", 99), 1), "unknown type"),
        (header((text("k") + struct.pack("<IB", 0, 1)) * 2, 2), "twice"),
        (header(text("general.alignment") + struct.pack("<II", 4, 3), 1), "alignment 3"),
        (header(), "names no architecture"),
    ],
)
def test_hostile_headers_are_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content.ljust(64, b"\0"))
    with pytest.raises(Damaged, match=reason):
        read_facts(path)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_mutated_headers_never_raise_anything_else(
    real_file: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(real_file.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "mutated.gguf"
    path.write_bytes(content)
    try:
        facts = read_facts(path)
    except Damaged:
        return
    assert (facts.parameters > 0) == (facts.tensors > 0)
