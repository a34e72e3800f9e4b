"""What a user may name to be fetched: a model of the catalogue, a repository of the hub, or the address of a file."""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from nanolocal.library.catalogue.entries import Model, Offer
    from nanolocal.library.catalogue.shelf import Catalogue

HUBS = frozenset({"huggingface.co", "hf.co", "www.huggingface.co"})
_NAME = r"[A-Za-z0-9](?:[\w.-]{0,94}[\w-])?"
_REPOSITORY = re.compile(
    rf"(?P<repo>{_NAME}/{_NAME})(?:@(?P<revision>[\w./-]{{1,200}}))?(?::(?P<quant>[\w.-]{{1,80}}))?"
)
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".npz", ".joblib")
_PACKED = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz", ".bz2", ".zst")
_CODE = (".py", ".so", ".dll", ".dylib", ".exe", ".sh", ".bat", ".js", ".jar", ".wasm")
_WAYS = "give a name from `nanolocal models catalogue`, OWNER/REPOSITORY:QUANT, or the address of a .gguf file"


@dataclass(frozen=True, slots=True)
class Reference:
    """``repo`` on the hub at ``revision``, or the ``url`` of one file elsewhere.

    ``quant`` names one build of the repository, ``file`` one of its files (``*`` in it stands for anything), where the
    user said so. ``model`` is what the catalogue knows.
    """

    typed: str
    repo: str = ""
    revision: str = "main"
    quant: str = ""
    file: str = ""
    url: str = ""
    projector: str = ""
    model: "Model | None" = None

    @property
    def named_file(self) -> str:
        """The one file that is meant; empty where that is a pattern, or nothing was said."""
        return "" if "*" in self.file else self.file


def parse(text: str, hub_host: str = "", catalogue: "Catalogue | None" = None) -> Reference:
    """What ``text`` names; ``hub_host`` is that of a mirror in use, ``catalogue`` the one that ships if not given.

    Raises ``UsageError`` for anything unknown or unsafe.
    """
    typed = text.strip()
    bare = re.sub(r"^https?://", "", typed, flags=re.IGNORECASE)
    host, _, rest = bare.partition("/")
    if host.lower() in HUBS | {hub_host.lower()} - {""}:
        return _on_the_hub(typed, rest)
    if bare != typed:
        return _elsewhere(typed)
    catalogue = catalogue or _shipped()
    found = _repository(typed, catalogue) or _in_the_catalogue(typed, catalogue)
    if found is None:
        raise UsageError(f"no model or repository is called {typed[:100]!r}", _likely(typed, catalogue))
    return found


def refuse_unsafe(name: str) -> None:
    """Raise ``UsageError`` for a file that could run code or hide anything."""
    lower = name.lower()
    if lower.endswith(_PICKLED):
        raise UsageError(f"{name} is pickled, and unpickling runs code: refused", "take a GGUF or safetensors file")
    if lower.endswith(_PACKED):
        raise UsageError(f"{name} is an archive: refused", "take the GGUF or safetensors file itself")
    if lower.endswith(_CODE):
        raise UsageError(f"{name} is code: refused", "take a GGUF or safetensors file")
    if not lower.endswith((".gguf", ".safetensors")):
        raise UsageError(f"{name} is no model file", "take a .gguf or .safetensors file")


def _shipped() -> "Catalogue":
    from nanolocal.library.catalogue import shelf

    return shelf.load()


def _repository(text: str, catalogue: "Catalogue | None" = None) -> Reference | None:
    """A repository by its name, with what the catalogue knows of it."""
    match = _REPOSITORY.fullmatch(text)
    if match is None or ".." in text:
        return None
    model = catalogue.get(match["repo"]) if catalogue is not None else None
    return Reference(text, match["repo"], match["revision"] or "main", match["quant"] or "", model=model)


def _on_the_hub(typed: str, rest: str) -> Reference:
    """A page of the hub, or the address of one of its files."""
    path = unquote(rest.partition("?")[0].partition("#")[0]).rstrip("/")
    parts = path.split("/")
    found = _repository("/".join(parts[:2]))
    if found is None or parts[0] in ("datasets", "spaces", "api"):
        raise UsageError(f"{typed[:200]} is no model's page", "give https://huggingface.co/OWNER/REPOSITORY")
    if len(parts) == 2:
        return replace(found, typed=typed)
    if len(parts) < 4 or parts[2] not in ("tree", "blob", "resolve"):
        return replace(found, typed=typed)
    at_revision = replace(found, typed=typed, revision=parts[3])
    if len(parts) == 4 or parts[2] == "tree":
        return at_revision
    refuse_unsafe(parts[-1])
    return replace(at_revision, file="/".join(parts[4:]))


def _elsewhere(typed: str) -> Reference:
    try:
        split = urlsplit(typed)
        host, user = split.hostname, split.username
    except ValueError:
        host, user = None, None
    if not host or user is not None or not typed.isprintable() or " " in typed:
        raise UsageError(f"{typed[:200]!r} is no address that can be used", "give it without a user and a password")
    refuse_unsafe(unquote(split.path).rpartition("/")[2] or "this address")
    return Reference(typed, url=typed)


def _in_the_catalogue(text: str, catalogue: "Catalogue") -> Reference | None:
    """A model by any of its names, with ``:QUANT`` after it or not."""
    from nanolocal.library.catalogue.names import quantization_of

    model = catalogue.get(text)
    if model is not None:
        return _offered(text, model, quantization_of(text) or "")
    name, _, quant = text.rpartition(":")
    model = catalogue.get(name) if name else None
    return _offered(text, model, quant) if model else None


def _likely(text: str, catalogue: "Catalogue") -> str:
    """Names of the catalogue that look like ``text``."""
    from difflib import get_close_matches

    names = [model.id for model in catalogue.models]
    near = get_close_matches(text.lower().partition(":")[0], names, n=3, cutoff=0.75)
    return f"did you mean {' or '.join(near)}? `nanolocal models catalogue` lists them all" if near else _WAYS


def _offered(text: str, model: "Model", quant: str) -> Reference:
    offer = _best_offer(model, quant)
    if offer is None:
        raise UsageError(
            f"the catalogue knows no build of {model.name}", f"look at https://huggingface.co/{model.origin}"
        )
    file = offer.file or ""
    pattern = file if "*" in file else ""
    return Reference(text, offer.repo, quant=quant, file=pattern, projector=offer.mmproj or "", model=model)


def _best_offer(model: "Model", quant: str) -> "Offer | None":
    """The build with that quantization, else the first one whose file is known, else the first."""
    offers = model.builds
    same = [offer for offer in offers if quant and quant.lower() in (offer.quantization or offer.file or "").lower()]
    return next(iter([*same, *(offer for offer in offers if offer.file), *offers]), None)
