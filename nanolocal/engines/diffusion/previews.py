"""Small pictures of what is not finished, for hardly any time.

The colour of a pixel is nearly a linear function of what the latents hold at its place. That function differs from
family to family and is found here: by least squares, from a small picture that the decoder makes of the first latents,
and again from every finished picture. From then on a preview is a product of two small matrices.
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

from nanolocal.engines.protocol import RunImage

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from numpy import ndarray
    from PIL.Image import Image
    from torch import Tensor

_SIDE = 32
"""The decoder makes a preview of at most so many latents a side."""
_SHARE = 0.01
"""Of the time that steps take, what the decoder may take for previews; the first one ever is always made."""
_SMALL = 24
"""Latents of fewer rows make a preview that shows nothing; the decoder makes a better one where there is time."""
_RIDGE = 1e-3


class Previews:
    """Previews of the pictures of ``pipeline``."""

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        self._pipeline = pipeline
        self._colours: Tensor | None = None
        self._drawing_s = self._decoding_s = self._last_s = 0.0
        self._has_decoded = False

    def show(self, latents: Tensor, job: RunImage, step_s: float) -> bytes | None:
        """A PNG of ``latents``, or ``None`` where that would take too long; ``step_s`` is what the step took."""
        self._drawing_s += step_s
        grid = self._grid(latents, job)
        if grid is None:
            return None
        is_wanted = self._colours is None or min(grid.shape[-2:]) < _SMALL
        if is_wanted and self._has_time and (decoded := self._decoded(grid)) is not None:
            return png(decoded, level=1)
        return None if self._colours is None else png(_picture(_coloured(grid, self._colours)), level=1)

    def last(self, latents: Tensor | None, job: RunImage) -> bytes | None:
        """A PNG as large as the picture was meant to be, of latents that nothing follows; ``None`` if that cannot be.

        The decoder sees no more of it than in any other preview, so that a stop does not wait for long.
        """
        import torch
        from PIL import Image

        grid = None if latents is None else self._grid(latents, job)
        if grid is None:
            return None
        with torch.no_grad():
            small = self._decoded(grid)
        if small is None and self._colours is not None:
            small = _picture(_coloured(grid, self._colours))
        return None if small is None else png(small.resize((job.width, job.height), Image.Resampling.BICUBIC))

    def learn(self, latents: Tensor | None, job: RunImage, picture: ndarray) -> None:
        """Find the colours once more from the last latents of a finished picture: rows of RGB, 0 to 1."""
        import torch

        grid = None if latents is None else self._grid(latents, job)
        if grid is not None:
            self._colours = _fitted(grid, torch.from_numpy(picture).permute(2, 0, 1)[None])

    @property
    def _has_time(self) -> bool:
        """Whether the decoder takes a small share of the time, one more preview counted."""
        return not self._has_decoded or self._decoding_s + self._last_s <= _SHARE * self._drawing_s

    def _decoded(self, grid: Tensor) -> Image | None:
        """A small picture by the decoder; ``None`` where it wants another shape."""
        from torch.nn.functional import adaptive_avg_pool2d

        vae = self._pipeline.vae
        if not hasattr(vae.config, "scaling_factor"):
            return None
        began = time.monotonic()
        height, width = grid.shape[-2:]
        scale = min(1.0, _SIDE / max(height, width))
        small = adaptive_avg_pool2d(grid, (max(1, round(height * scale)), max(1, round(width * scale))))
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        unscaled = (small / vae.config.scaling_factor + shift).to(vae.dtype)
        try:
            decoded = vae.decode(unscaled, return_dict=False)[0].detach().float() / 2 + 0.5
        except (RuntimeError, ValueError, IndexError, TypeError):  # a decoder that wants another shape: no preview then
            self._has_decoded, self._decoding_s = True, float("inf")
            return None
        if self._colours is None:
            self._colours = _fitted(small, decoded)
        picture = _picture(decoded)
        self._last_s = time.monotonic() - began
        self._decoding_s += self._last_s if self._has_decoded else 0.0
        self._has_decoded = True
        return picture

    def _grid(self, latents: Tensor, job: RunImage) -> Tensor | None:
        """One picture's latents as 1 x channels x height x width; nothing where it is not known how they lie."""
        if latents.ndim == 5 and latents.shape[2] == 1:  # a film of one picture
            latents = latents[:, :, 0]
        if latents.ndim == 3 and latents.shape[2] % 4 == 0:  # rows of 2 x 2 patches, as Flux and Qwen-Image have them
            side = 2 * getattr(self._pipeline, "vae_scale_factor", 8)
            height, width = job.height // side, job.width // side
            if height * width == latents.shape[1]:
                patches = latents[:1].view(1, height, width, -1, 2, 2).permute(0, 3, 1, 4, 2, 5)
                return patches.reshape(1, -1, 2 * height, 2 * width)
        return latents[:1] if latents.ndim == 4 else None


def _fitted(grid: Tensor, picture: Tensor) -> Tensor:
    """The channels + 1 by 3 numbers that come nearest to the picture; both are 1 x channels x height x width."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    values = _rows(grid.float().cpu())
    wanted = adaptive_avg_pool2d(picture.float().cpu(), (grid.shape[-2], grid.shape[-1]))[0].flatten(1).T
    square = values.T @ values
    ridge = _RIDGE * square.diagonal().mean() * torch.eye(len(square))
    colours: Tensor = torch.linalg.solve(square + ridge, values.T @ wanted)
    return colours


def _coloured(grid: Tensor, colours: Tensor) -> Tensor:
    height, width = grid.shape[-2:]
    return (_rows(grid.float().cpu()) @ colours).T.reshape(1, 3, height, width)


def _rows(grid: Tensor) -> Tensor:
    """One row a place: its channels, and a one."""
    import torch

    rows = grid[0].flatten(1).T
    return torch.cat((rows, torch.ones(len(rows), 1)), dim=1)


def _picture(values: Tensor) -> Image:
    """1 x 3 x height x width, 0 to 1, as a picture."""
    from PIL import Image

    bytes_of = (values[0].nan_to_num().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
    return Image.fromarray(bytes_of)


def png(image: Image, level: int = 6) -> bytes:
    """PNG bytes without any metadata; ``level`` is how hard they are compressed."""
    image.info.clear()
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()
