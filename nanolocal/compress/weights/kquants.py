"""The blocks of ggml's types as numpy arrays: scales and integers apart, and back to the same bytes.

Layouts as in ``ggml-common.h`` and ``ggml-quants.c`` of llama.cpp: block_q2_K to block_q6_K, block_q4_0 to
block_q8_0, block_iq4_nl and block_iq4_xs. Every bit of a block is kept, so a round trip changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

SUPER = 256
_IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


@dataclass(frozen=True, slots=True)
class Blocks:
    """Rows of blocks, taken apart.

    ``d`` and ``m`` [rows, blocks] are the factors of a whole block (``m`` empty where the type has none), ``scales``
    and ``mins`` [rows, blocks, parts] the integers that they multiply, ``q`` [rows, columns] the weights' integers.
    """

    d: NDArray[np.float16]
    m: NDArray[np.float16]
    scales: NDArray[np.int16]
    mins: NDArray[np.int16]
    q: Bytes


@dataclass(frozen=True, slots=True)
class Layout:
    """One type: a weight is ``d * scale * levels[q] + m * min``, with ``m`` times -1 in the K types.

    ``columns`` and ``bytes`` are those of a block, ``part`` the columns that share a scale. ``scale_range`` and
    ``min_range`` bound the integers of ``scales`` and ``mins``.
    """

    name: str
    columns: int
    bytes: int
    part: int
    levels: Floats
    sign_of_min: int
    scale_range: tuple[int, int]
    min_range: tuple[int, int]
    unpack: Callable[[Bytes], Blocks]
    pack: Callable[[Blocks], Bytes]

    @property
    def has_min(self) -> bool:
        """Whether a part has an offset beside its scale."""
        return self.sign_of_min != 0

    @property
    def has_parts(self) -> bool:
        """Whether scales are integers below one factor of the block, rather than that factor itself."""
        return self.scale_range != (1, 1)


def steps(layout: Layout, blocks: Blocks) -> tuple[Floats, Floats]:
    """What one level is worth and what is added, for each weight: [rows, columns]."""
    scale = blocks.d.astype(np.float32)[:, :, None] * blocks.scales
    scale = np.repeat(scale.reshape(len(scale), -1), layout.part, axis=1)
    if not layout.has_min:
        return scale, np.zeros_like(scale)
    offset = layout.sign_of_min * blocks.m.astype(np.float32)[:, :, None] * blocks.mins
    return scale, np.repeat(offset.reshape(len(offset), -1), layout.part, axis=1)


def values(layout: Layout, blocks: Blocks) -> Floats:
    """The weights that the blocks stand for: [rows, columns]."""
    scale, offset = steps(layout, blocks)
    return scale * layout.levels[blocks.q] + offset


def layout_of(name: str) -> Layout | None:
    """The layout of a type by ggml's name, such as ``Q4_K``; ``None`` for one that is not taken apart here."""
    return _LAYOUTS.get(name)


def _halves(raw: Bytes, first: int) -> NDArray[np.float16]:
    """The float16 at byte ``first`` of each block: [rows, blocks]."""
    half: NDArray[np.float16] = np.ascontiguousarray(raw[:, :, first : first + 2]).view(np.float16)[:, :, 0]
    return half


def _bytes_of(half: NDArray[np.float16]) -> Bytes:
    return np.ascontiguousarray(half[:, :, None]).view(np.uint8)


def _ones(raw: Bytes) -> NDArray[np.int16]:
    return np.ones((*raw.shape[:2], 1), np.int16)


def _none(raw: Bytes) -> NDArray[np.int16]:
    return np.zeros((*raw.shape[:2], 0), np.int16)


def _no_half(raw: Bytes) -> NDArray[np.float16]:
    return np.zeros((len(raw), 0), np.float16)


def _flat(q: NDArray[np.integer]) -> Bytes:
    return q.reshape(len(q), -1).astype(np.uint8)


def _blocked(blocks: Blocks, *shape: int) -> Bytes:
    """The integers as [rows, blocks, ...]."""
    return blocks.q.reshape(*blocks.d.shape, *shape)


def _scales_of_k4(packed: Bytes) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """The 6-bit scales and mins of Q4_K and Q5_K from 12 bytes: ``get_scale_min_k4``."""
    low, middle, high = packed[:, :, 0:4], packed[:, :, 4:8], packed[:, :, 8:12]
    scales = np.concatenate([low & 63, (high & 15) | (low >> 6 << 4)], axis=2)
    mins = np.concatenate([middle & 63, (high >> 4) | (middle >> 6 << 4)], axis=2)
    return scales.astype(np.int16), mins.astype(np.int16)


def _packed_k4(blocks: Blocks) -> Bytes:
    scales, mins = blocks.scales.astype(np.uint8), blocks.mins.astype(np.uint8)
    low = scales[:, :, :4] | (scales[:, :, 4:] >> 4 << 6)
    middle = mins[:, :, :4] | (mins[:, :, 4:] >> 4 << 6)
    high = (scales[:, :, 4:] & 15) | ((mins[:, :, 4:] & 15) << 4)
    return np.concatenate([low, middle, high], axis=2)


def _nibbles(packed: Bytes) -> Bytes:
    """Per 64 weights, 32 bytes: the lower halves first, then the upper: [rows, blocks, 4, 2, 32]."""
    pairs = packed.reshape(*packed.shape[:2], 4, 32)
    return np.stack([pairs & 15, pairs >> 4], axis=3)


def _unpack_q4_k(raw: Bytes) -> Blocks:
    scales, mins = _scales_of_k4(raw[:, :, 4:16])
    return Blocks(_halves(raw, 0), _halves(raw, 2), scales, mins, _flat(_nibbles(raw[:, :, 16:])))


def _pack_q4_k(blocks: Blocks) -> Bytes:
    q = _blocked(blocks, 4, 2, 32)
    low = (q[:, :, :, 0] | (q[:, :, :, 1] << 4)).reshape(*blocks.d.shape, 128)
    return np.concatenate([_bytes_of(blocks.d), _bytes_of(blocks.m), _packed_k4(blocks), low], axis=2)


def _unpack_q5_k(raw: Bytes) -> Blocks:
    scales, mins = _scales_of_k4(raw[:, :, 4:16])
    high = (raw[:, :, None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None]) & 1
    q = _nibbles(raw[:, :, 48:]) | (high.reshape(*raw.shape[:2], 4, 2, 32) << 4)
    return Blocks(_halves(raw, 0), _halves(raw, 2), scales, mins, _flat(q))


def _pack_q5_k(blocks: Blocks) -> Bytes:
    q = _blocked(blocks, 8, 32)
    high = ((q >> 4) << np.arange(8, dtype=np.uint8)[:, None]).sum(axis=2, dtype=np.uint8)
    pairs = (q & 15).reshape(*blocks.d.shape, 4, 2, 32)
    low = (pairs[:, :, :, 0] | (pairs[:, :, :, 1] << 4)).reshape(*blocks.d.shape, 128)
    return np.concatenate([_bytes_of(blocks.d), _bytes_of(blocks.m), _packed_k4(blocks), high, low], axis=2)


def _unpack_q6_k(raw: Bytes) -> Blocks:
    low = raw[:, :, :128].reshape(*raw.shape[:2], 2, 2, 32)
    low = np.concatenate([low & 15, low >> 4], axis=3)
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    high = (raw[:, :, 128:192].reshape(*raw.shape[:2], 2, 1, 32) >> shifts) & 3
    scales = raw[:, :, 192:208].view(np.int8).astype(np.int16)
    return Blocks(_halves(raw, 208), _no_half(raw), scales, _none(raw), _flat(low | (high << 4)))


def _pack_q6_k(blocks: Blocks) -> Bytes:
    q = _blocked(blocks, 2, 4, 32)
    low = ((q[:, :, :, :2] & 15) | ((q[:, :, :, 2:] & 15) << 4)).reshape(*blocks.d.shape, 128)
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    high = ((q >> 4) << shifts).sum(axis=3, dtype=np.uint8).reshape(*blocks.d.shape, 64)
    scales = blocks.scales.astype(np.int8).view(np.uint8)
    return np.concatenate([low, high, scales, _bytes_of(blocks.d)], axis=2)


def _pairs(packed: Bytes) -> Bytes:
    """Two bits a weight from 64 bytes: [rows, blocks, 2, 4, 32]."""
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    pairs: Bytes = (packed.reshape(*packed.shape[:2], 2, 1, 32) >> shifts) & np.uint8(3)
    return pairs


def _packed_pairs(q: Bytes) -> Bytes:
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    packed: Bytes = ((q & 3) << shifts).sum(axis=3, dtype=np.uint8).reshape(*q.shape[:2], 64)
    return packed


def _unpack_q3_k(raw: Bytes) -> Blocks:
    packed = raw[:, :, 96:108]
    low = np.concatenate([packed[:, :, :8] & 15, packed[:, :, :8] >> 4], axis=2)
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    high = ((packed[:, :, None, 8:12] >> shifts) & 3).reshape(*raw.shape[:2], 16)
    mask = (raw[:, :, None, :32] >> np.arange(8, dtype=np.uint8)[:, None]) & 1
    q = _pairs(raw[:, :, 32:96]) | (mask.reshape(*raw.shape[:2], 2, 4, 32) << 2)
    scales = (low | (high << 4)).astype(np.int16) - 32
    return Blocks(_halves(raw, 108), _no_half(raw), scales, _none(raw), _flat(q))


def _pack_q3_k(blocks: Blocks) -> Bytes:
    q = _blocked(blocks, 2, 4, 32)
    mask = ((q >> 2).reshape(*blocks.d.shape, 8, 32) << np.arange(8, dtype=np.uint8)[:, None]).sum(
        axis=2, dtype=np.uint8
    )
    scales = (blocks.scales + 32).astype(np.uint8)
    low = (scales[:, :, :8] & 15) | ((scales[:, :, 8:] & 15) << 4)
    shifts = np.arange(0, 8, 2, dtype=np.uint8)[:, None]
    high = ((scales >> 4).reshape(*blocks.d.shape, 4, 4) << shifts).sum(axis=2, dtype=np.uint8)
    return np.concatenate([mask, _packed_pairs(q), low, high, _bytes_of(blocks.d)], axis=2)


def _unpack_q2_k(raw: Bytes) -> Blocks:
    packed = raw[:, :, :16].astype(np.int16)
    return Blocks(_halves(raw, 80), _halves(raw, 82), packed & 15, packed >> 4, _flat(_pairs(raw[:, :, 16:80])))


def _pack_q2_k(blocks: Blocks) -> Bytes:
    packed = (blocks.scales | (blocks.mins << 4)).astype(np.uint8)
    q = _packed_pairs(_blocked(blocks, 2, 4, 32))
    return np.concatenate([packed, q, _bytes_of(blocks.d), _bytes_of(blocks.m)], axis=2)


def _unpack_iq4_xs(raw: Bytes) -> Blocks:
    low = np.stack([raw[:, :, 4:8] & 15, raw[:, :, 4:8] >> 4], axis=3).reshape(*raw.shape[:2], 8)
    shifts = np.arange(0, 8, 2, dtype=np.uint8)
    high = ((raw[:, :, 2:4, None] >> shifts) & 3).reshape(*raw.shape[:2], 8)
    pairs = raw[:, :, 8:].reshape(*raw.shape[:2], 8, 16)
    q = np.concatenate([pairs & 15, pairs >> 4], axis=3)
    return Blocks(_halves(raw, 0), _no_half(raw), (low | (high << 4)).astype(np.int16) - 32, _none(raw), _flat(q))


def _pack_iq4_xs(blocks: Blocks) -> Bytes:
    scales = (blocks.scales + 32).astype(np.uint8)
    shifts = np.arange(0, 8, 2, dtype=np.uint8)
    high = ((scales >> 4).reshape(*blocks.d.shape, 2, 4) << shifts).sum(axis=3, dtype=np.uint8)
    low = (scales[:, :, 0::2] & 15) | ((scales[:, :, 1::2] & 15) << 4)
    q = _blocked(blocks, 8, 2, 16)
    packed = (q[:, :, :, 0] | (q[:, :, :, 1] << 4)).reshape(*blocks.d.shape, 128)
    return np.concatenate([_bytes_of(blocks.d), high, low, packed], axis=2)


def _unpack_q8_0(raw: Bytes) -> Blocks:
    return Blocks(_halves(raw, 0), _no_half(raw), _ones(raw), _none(raw), _flat(raw[:, :, 2:] ^ 128))


def _pack_q8_0(blocks: Blocks) -> Bytes:
    return np.concatenate([_bytes_of(blocks.d), _blocked(blocks, 32) ^ 128], axis=2)


def _unpack_small(raw: Bytes, *, with_min: bool, with_high: bool) -> Blocks:
    """Q4_0, Q4_1, Q5_0, Q5_1 and IQ4_NL: factors, the fifth bits, then nibbles of 32 weights."""
    first = 4 if with_min else 2
    packed = raw[:, :, first + 4 * with_high :]
    q = np.concatenate([packed & 15, packed >> 4], axis=2)
    if with_high:
        q |= np.unpackbits(raw[:, :, first : first + 4], axis=2, bitorder="little") << 4
    m = _halves(raw, 2) if with_min else _no_half(raw)
    return Blocks(_halves(raw, 0), m, _ones(raw), _ones(raw) if with_min else _none(raw), _flat(q))


def _pack_small(blocks: Blocks) -> Bytes:
    return _packed_small(blocks, with_high=False)


def _pack_small_5(blocks: Blocks) -> Bytes:
    return _packed_small(blocks, with_high=True)


def _packed_small(blocks: Blocks, *, with_high: bool) -> Bytes:
    q = _blocked(blocks, 32)
    parts = [_bytes_of(blocks.d)]
    if blocks.m.size:
        parts.append(_bytes_of(blocks.m))
    if with_high:
        parts.append(np.packbits(q >> 4, axis=2, bitorder="little"))
    low = q & 15
    return np.concatenate([*parts, low[:, :, :16] | (low[:, :, 16:] << 4)], axis=2)


def _from(first: int, last: int) -> Floats:
    return np.arange(first, last + 1, dtype=np.float32)


def _small(name: str, size: int, levels: Floats, *, with_min: bool = False) -> Layout:
    with_high = len(levels) == 32
    return Layout(
        name, 32, size, 32, levels, int(with_min), (1, 1), (1, 1),
        lambda raw: _unpack_small(raw, with_min=with_min, with_high=with_high),
        _pack_small_5 if with_high else _pack_small,
    )  # fmt: skip


_LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("Q2_K", SUPER, 84, 16, _from(0, 3), -1, (0, 15), (0, 15), _unpack_q2_k, _pack_q2_k),
        Layout("Q3_K", SUPER, 110, 16, _from(-4, 3), 0, (-32, 31), (0, 0), _unpack_q3_k, _pack_q3_k),
        Layout("Q4_K", SUPER, 144, 32, _from(0, 15), -1, (0, 63), (0, 63), _unpack_q4_k, _pack_q4_k),
        Layout("Q5_K", SUPER, 176, 32, _from(0, 31), -1, (0, 63), (0, 63), _unpack_q5_k, _pack_q5_k),
        Layout("Q6_K", SUPER, 210, 16, _from(-32, 31), 0, (-128, 127), (0, 0), _unpack_q6_k, _pack_q6_k),
        Layout(
            "IQ4_XS", SUPER, 136, 32, np.array(_IQ4, np.float32), 0, (-32, 31), (0, 0), _unpack_iq4_xs, _pack_iq4_xs
        ),
        Layout("Q8_0", 32, 34, 32, _from(-128, 127), 0, (1, 1), (1, 1), _unpack_q8_0, _pack_q8_0),
        _small("Q4_0", 18, _from(-8, 7)),
        _small("Q4_1", 20, _from(0, 15), with_min=True),
        _small("Q5_0", 22, _from(-16, 15)),
        _small("Q5_1", 24, _from(0, 31), with_min=True),
        _small("IQ4_NL", 18, np.array(_IQ4, np.float32)),
    )
}


def unpacked(layout: Layout, raw: Bytes) -> Blocks:
    """Take rows of encoded bytes [rows, bytes of a row] apart."""
    return layout.unpack(raw.reshape(len(raw), -1, layout.bytes))


def packed(layout: Layout, blocks: Blocks) -> Bytes:
    """The encoded rows [rows, bytes of a row] of ``blocks``."""
    raw = layout.pack(blocks)
    return raw.reshape(len(raw), -1)
