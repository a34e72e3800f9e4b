"""Frames: what goes in comes out, and garbage is refused in words."""

import io
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.engines import protocol
from nanolocal.engines.protocol import (
    Delta,
    Done,
    Drawn,
    Frame,
    Hello,
    Odds,
    ProtocolError,
    RunImage,
    RunText,
    Step,
    ToolCall,
)

FRAMES: list[Frame] = [
    Hello(1, 77, (("torch", "2"),)),
    RunText(3, (("user", "hé\n"), ("assistant", "")), 512, 9, 0.5, 0.9, 40, 0.0, 1.0, None),
    RunText(4, (("user", "look"),), 512, 9, 0.5, 0.9, 40, 0.0, 1.0, 1, ((0, b"\x89PNG\x00"), (0, b""))),
    RunText(
        5, (), 512, 9, 0.5, 0.9, 40, 0.0, 1.0, 1, mirostat=True, logit_bias=((1, -2.5),), stop=("a", ""), logprobs=0
    ),
    Delta(1, "\u202e\x1b[2J", 2),
    Delta(1, "hm", 1, "reasoning"),
    ToolCall(1, "look", '{"at": 3}'),
    Odds(1, "a", -0.5, (("a", -0.5), ("b", -2.0))),
    Step(2, 1, 4, b"\x89PNG\x00"),
    Done(1, "end", 5, prompt_tokens=7, decode_tok_s=1.5),
    RunImage(2, "a", "", 64, 64, 2, 1.0, None, source=b"\x89PNG", adapters=(("a.safetensors", 0.5),), count=2),
    Drawn(2, b"\x89PNG", 7, "DDIMScheduler", "full", "float32", 2, (("ab", 0.5),), (("torch", "2"),)),
]


@pytest.mark.parametrize("frame", FRAMES)
def test_a_frame_survives_the_journey(frame: Frame) -> None:
    assert protocol.read_frame(io.BytesIO(protocol.encode(frame))) == frame


def test_a_whole_number_passes_as_a_fraction_and_lone_surrogates_are_replaced() -> None:
    assert protocol.decode(b'{"frame":"Beat","cpu_s":2}') == protocol.Beat(2.0)
    assert protocol.decode(protocol.encode(Delta(1, "a\ud800", 1))[4:]) == Delta(1, "a?", 1)


def test_the_end_of_a_stream_is_no_error_but_a_torn_frame_is() -> None:
    data = protocol.encode(FRAMES[0])
    assert protocol.read_frame(io.BytesIO(b"")) is None
    for cut in (2, 4, len(data) - 1):
        with pytest.raises(ProtocolError, match="ends inside"):
            protocol.read_frame(io.BytesIO(data[:cut]))


@pytest.mark.parametrize("length", [0, protocol.MAX_FRAME_BYTES + 1, 2**32 - 1])
def test_a_frame_of_a_silly_length_is_refused_before_it_is_read(length: int) -> None:
    with pytest.raises(ProtocolError, match="claims"):
        protocol.read_frame(io.BytesIO(struct.pack(">I", length) + b"x" * 64))


def test_a_frame_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="Delta frame of"):
        protocol.encode(Delta(1, "x" * protocol.MAX_FRAME_BYTES, 1))


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\xfe",
        b"[1]",
        b"{}",
        b'{"frame":"Nothing"}',
        b'{"frame":["Beat"]}',
        b'{"frame":"Beat"}',
        b'{"frame":"Beat","cpu_s":"1"}',
        b'{"frame":"Beat","cpu_s":true}',
        b'{"frame":"Beat","cpu_s":1,"more":1}',
        b'{"frame":"Delta","job":1,"text":1,"tokens":1,"part":"answer"}',
        b'{"frame":"Delta","job":1,"text":"a","tokens":1}',
        b'{"frame":"Odds","job":1,"text":"a","logprob":"0","top":[]}',
        b'{"frame":"Odds","job":1,"text":"a","logprob":0,"top":[["a"]]}',
        b'{"frame":"ToolCall","job":1,"name":"a","arguments":{}}',
        b'{"frame":"Step","job":1,"step":1,"total":2,"preview":"%%"}',
        b'{"frame":"Hello","protocol":1,"pid":1,"versions":[["a"]]}',
        pytest.param(b"[" * 100_000, id="nested"),
    ],
)
def test_garbage_is_a_protocol_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode(payload)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_else(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode(data)


_json = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))
_keys = ["job", "step", "total", "preview", "text", "tokens", "versions", "x"]


@given(st.sampled_from(["Step", "Delta", "Hello"]), st.dictionaries(st.sampled_from(_keys), _json))
def test_random_objects_give_a_frame_or_a_protocol_error(name: str, values: dict[str, object]) -> None:
    payload = json.dumps({"frame": name, **values}).encode()
    try:
        frame = protocol.decode(payload)
    except ProtocolError:
        return
    assert protocol.decode(protocol.encode(frame)[4:]) == frame
