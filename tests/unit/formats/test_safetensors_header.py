"""The bounded safetensors header reader against real, cut off, hostile and mutated files."""

import json
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from nanolocal.errors import Damaged
from nanolocal.formats.safetensors_header import read_header


def write(path: Path, header: str | bytes, data: bytes = b"", length: int | None = None) -> Path:
    content = header.encode() if isinstance(header, str) else header
    path.write_bytes(struct.pack("<Q", len(content) if length is None else length) + content + data)
    return path


def tensor(begin: int, end: int, dtype: str = "U8", shape: list[int] | None = None) -> dict[str, object]:
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


@pytest.fixture(scope="module")
def real_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("st") / "real.safetensors"
    tensors = {f"blk.{n}.weight": np.ones((3, n + 1), dtype=np.float16) for n in range(8)}
    save_file(
        {**tensors, "scalar": np.array(1.0, dtype=np.float32)}, path, metadata={"format": "pt", "odd": '{"[": "]}"}'}
    )
    return path


def test_it_reads_what_the_reference_writer_wrote(real_file: Path) -> None:
    facts = read_header(real_file)
    assert facts.shapes["blk.2.weight"] == (3, 3)
    assert facts.shapes["scalar"] == ()
    assert facts.metadata == {"format": "pt", "odd": '{"[": "]}"}'}
    assert facts.parameters == 3 * 36 + 1


def test_names_with_escapes_and_an_empty_file(tmp_path: Path) -> None:
    name = 'a "quoted" \\ näme\n'
    assert list(read_header(write(tmp_path / "a", json.dumps({name: tensor(0, 2)}), b"xx")).shapes) == [name]
    assert read_header(write(tmp_path / "b", "{ }   ")).parameters == 0


def test_a_file_cut_anywhere_is_refused(real_file: Path, tmp_path: Path) -> None:
    whole = real_file.read_bytes()
    for size in range(0, len(whole), 3):
        (tmp_path / "cut").write_bytes(whole[:size])
        with pytest.raises(Damaged):
            read_header(tmp_path / "cut")


@pytest.mark.parametrize(
    ("header", "data", "reason"),
    [
        (json.dumps({"a": tensor(0, 2), "b": tensor(1, 3)}), 3, "overlap or leave a gap"),
        (json.dumps({"a": tensor(0, 2), "b": tensor(3, 4)}), 4, "overlap or leave a gap"),
        (json.dumps({"a": tensor(1, 3)}), 3, "overlap or leave a gap"),
        (json.dumps({"a": tensor(0, 2)}), 3, "not as long as its header says"),
        (json.dumps({"a": tensor(0, 9)}), 3, "not as long as its header says"),
        (f'{{"a":{json.dumps(tensor(0, 1))},"a":{json.dumps(tensor(1, 2))}}}', 2, "'a' appears twice"),
        ('{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1, "says something twice"),
        ('{"__metadata__":{},"__metadata__":{}}', 0, "__metadata__ is not one"),
        ('{"__metadata__":{"a":1}}', 0, "__metadata__ is not one"),
        (json.dumps({"a": tensor(0, 1, "Q8")}), 1, "unknown type 'Q8'"),
        (json.dumps({"a": tensor(0, 1, shape=[2])}), 1, "not as long as its shape says"),
        (json.dumps({"a": tensor(0, 1, shape=[2**62, 2**62])}), 1, "not as long as its shape says"),
        (json.dumps({"a": tensor(0, 1, shape=[-1])}), 1, "described wrongly"),
        (json.dumps({"a": tensor(0, 1, shape=[1] * 20)}), 1, "described wrongly"),
        ('{"a":{"dtype":"U8","shape":[true],"data_offsets":[0,1]}}', 1, "described wrongly"),
        ('{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}', 1, "described wrongly"),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}', 1, "described wrongly"),
        ('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1}}', 1, "described wrongly"),
        ('{"a":{}}', 0, "described wrongly"),
        ('{"a":[]}', 0, "described wrongly"),
        ('{"a":1}', 0, "described wrongly"),
        ('{"a":{"b":{}}}', 0, "described wrongly"),
        ('{"a":{}} {"b":{}}', 0, "described wrongly"),
        ('{"__metadata__":{}} {}', 0, "goes on after its end"),
        ("[]", 0, "is no object"),
        ("{" * 1000 + "}" * 1000, 0, "not a list of tensors"),
        ('{"a":{' + '"b":' + "[" * 5000 + "]" * 5000 + "}}", 0, "in more than 8,192 bytes"),
        ('{"\\ud800":{}}', 0, "described wrongly"),
        (b'{"\xff":{}}', 0, "not JSON"),
    ],
)
def test_hostile_headers_are_refused_with_the_reason(
    tmp_path: Path, header: str | bytes, data: int, reason: str
) -> None:
    with pytest.raises(Damaged, match="not a usable safetensors file") as caught:
        read_header(write(tmp_path / "bad.safetensors", header, bytes(data)))
    assert reason in caught.value.message


def test_a_header_that_claims_too_much_is_not_read(tmp_path: Path) -> None:
    for length in (2**63, 26 * 2**20, 100, 0, 1):
        with pytest.raises(Damaged, match="its header claims"):
            read_header(write(tmp_path / "bad", "{}", length=length))


@pytest.mark.parametrize("name", ["a", "__metadata__"])
@pytest.mark.parametrize("filling", ["[],", '"",', '{"":', "\\", '"', "[", " ", "{},"])
def test_twenty_megabytes_of_nonsense_take_little_more_memory_than_that(
    tmp_path: Path, filling: str, name: str
) -> None:
    body = filling * (20 * 2**20 // len(filling))
    write(tmp_path / "bomb", f'{{"{name}":{{"dtype":{body}}}}}')
    tracemalloc.start()
    try:
        with pytest.raises(Damaged):
            read_header(tmp_path / "bomb")
        assert tracemalloc.get_traced_memory()[1] < 80 * 2**20
    finally:
        tracemalloc.stop()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_mutated_headers_never_raise_anything_else(
    real_file: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(real_file.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    path.write_bytes(content)
    try:
        read_header(path)
    except Damaged:
        return
