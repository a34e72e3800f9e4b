"""A picture's settings out of the graph that ComfyUI leaves in its files: ``prompt`` as run, ``workflow`` as drawn.

By execution.py, nodes.py and comfy_extras of https://github.com/comfyanonymous/ComfyUI. Only the nodes that every graph
is made of are known; a setting that comes from another node is left out.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nanolocal.chat.drawing import PictureReceipt
from nanolocal.vault.transfer.samplers import scheduler_of

_MOST_CHARACTERS, _MOST_NODES, _DEEPEST = 2 * 2**20, 2_000, 24
_LONGEST_TEXT = 20_000
_SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
_WIDGETS = {
    "KSampler": ("seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": ("add_noise", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler"),
    "CLIPTextEncode": ("text",),
    "EmptyLatentImage": ("width", "height"),
    "EmptySD3LatentImage": ("width", "height"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name",),
    "UnetLoaderGGUF": ("unet_name",),
    "LoraLoader": ("lora_name", "strength_model"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "RandomNoise": ("noise_seed",),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "FluxGuidance": ("guidance",),
    "CFGGuider": ("cfg",),
}
"""The names of the values that a workflow lists without names, by kind of node; ``""`` is none of the graph's."""


class _Node(NamedTuple):
    kind: str
    inputs: Mapping[str, object]


_Graph = Mapping[str, _Node]


def read(texts: Mapping[str, str]) -> PictureReceipt | None:
    """The settings in a file's texts, or ``None`` where there is no such graph."""
    graph = _run_graph(_object(texts.get("prompt", ""))) or _drawn_graph(_object(texts.get("workflow", "")))
    sampler = next((node for kind in _SAMPLERS for node in graph.values() if node.kind == kind), None)
    return None if sampler is None else _receipt(graph, sampler)


def _receipt(graph: _Graph, sampler: _Node) -> PictureReceipt:
    everything = list(_upstream(graph, sampler, tuple(sampler.inputs)))
    positive = ("positive", "guider", "conditioning")
    latent = list(_upstream(graph, sampler, ("latent_image",)))
    models = list(_upstream(graph, sampler, ("model", "guider")))
    near = [sampler, *everything]
    steps, width = _number(near, "steps", 10_000), _number(latent, "width", 16_384)
    denoise = _number(near, "denoise", 1.0)
    return PictureReceipt(
        build_id=_name(_text(models, "ckpt_name") or _text(models, "unet_name")),
        build_sha256="",
        prompt=_said(graph, sampler, positive),
        width=int(width),
        height=int(_number(latent, "height", 16_384)),
        steps=int(steps),
        guidance=_number(near, "guidance", 1000.0) or _number(near, "cfg", 1000.0),
        seed=int(_number(near, "seed", 2**64 - 1) or _number(near, "noise_seed", 2**64 - 1)),
        negative=_said(graph, sampler, ("negative",)),
        scheduler=scheduler_of(_text(near, "sampler_name")),
        strength=denoise if 0 < denoise < 1 else 0.0,
        adapters=tuple(
            (_name(_text([node], "lora_name")), _weight(node)) for node in models if _text([node], "lora_name")
        ),
    )


def _run_graph(raw: Mapping[str, object]) -> _Graph:
    """What was run: nodes by id, each input a value or a link ``[id, output]``."""
    graph = {}
    for key, value in list(raw.items())[:_MOST_NODES]:
        node = value if isinstance(value, dict) else {}
        kind, inputs = node.get("class_type"), node.get("inputs")
        if isinstance(kind, str) and isinstance(inputs, dict):
            graph[key] = _Node(kind, inputs)
    return graph


def _drawn_graph(raw: Mapping[str, object]) -> _Graph:
    """What was drawn on screen, in the form of what is run."""
    nodes, links = raw.get("nodes"), raw.get("links")
    sources = {
        link[0]: [str(link[1]), link[2]]
        for link in (links if isinstance(links, list) else [])[: 10 * _MOST_NODES]
        if isinstance(link, list) and len(link) >= 3 and isinstance(link[0], int)
    }
    graph = {}
    for node in (nodes if isinstance(nodes, list) else [])[:_MOST_NODES]:
        if not isinstance(node, dict) or not isinstance(node.get("type"), str):
            continue
        values, slots = node.get("widgets_values"), node.get("inputs")
        named = zip(_WIDGETS.get(node["type"], ()), values if isinstance(values, list) else [], strict=False)
        inputs: dict[str, object] = {name: value for name, value in named if name}
        for slot in slots if isinstance(slots, list) else []:
            if isinstance(slot, dict) and isinstance(slot.get("link"), int) and slot["link"] in sources:
                inputs[str(slot.get("name"))] = sources[slot["link"]]
        graph[str(node.get("id"))] = _Node(node["type"], inputs)
    return graph


def _upstream(graph: _Graph, node: _Node, names: tuple[str, ...]) -> Iterator[_Node]:
    """The nodes that these inputs come from, the nearest first, each once."""
    waiting = [linked for name in names if (linked := _linked(graph, node.inputs.get(name))) is not None]
    seen: list[_Node] = []
    for _ in range(_DEEPEST):
        waiting = [each for each in waiting if not any(each is other for other in seen)]
        seen += waiting
        yield from waiting
        after = (_linked(graph, value) for each in waiting for value in each.inputs.values())
        waiting = list({id(each): each for each in after if each is not None}.values())


def _linked(graph: _Graph, value: object) -> _Node | None:
    is_link = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int)
    return graph.get(str(value[0])) if is_link and isinstance(value, list) else None


def _said(graph: _Graph, sampler: _Node, names: tuple[str, ...]) -> str:
    """The text of the nearest node before these inputs that has one."""
    for node in _upstream(graph, sampler, names):
        for name in ("text", "text_g", "t5xxl", "clip_l", "string", "value"):
            text = node.inputs.get(name)
            if isinstance(text, str) and text.strip() and not node.kind.endswith(("Loader", "LoaderSimple", "Select")):
                return text[:_LONGEST_TEXT].strip()
    return ""


def _text(nodes: list[_Node], name: str) -> str:
    return next((value[:200] for node in nodes if isinstance(value := node.inputs.get(name), str)), "")


def _number(nodes: list[_Node], name: str, most: float) -> float:
    """The first number of that name; 0 for none, or one out of range."""
    for node in nodes:
        value = node.inputs.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value if math.isfinite(value) and 0 <= value <= most else 0
    return 0


def _weight(node: _Node) -> float:
    value = node.inputs.get("strength_model")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if isinstance(value, int | float) and is_number and -100 <= value <= 100 else 1.0


def _name(file: str) -> str:
    """A file's name without its folder and its ending."""
    return file.replace("\\", "/").rpartition("/")[2].removesuffix(".safetensors").removesuffix(".gguf")


def _object(text: str) -> Mapping[str, object]:
    """A JSON object, or an empty one; ComfyUI writes NaN, which is no number here."""
    if not text or len(text) > _MOST_CHARACTERS:
        return {}
    try:
        value = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
