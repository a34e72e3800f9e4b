"""The whole catalogue: looked up by name, searched by words, and matched against builds that lie on this device."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from importlib import resources

from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import Damaged
from nanolocal.library.catalogue.entries import Model, Purpose
from nanolocal.library.catalogue.names import (
    header_names,
    key_of,
    repositories_in,
    repository_in_tag,
    says_something,
    without_quantization,
)
from nanolocal.library.catalogue.reading import read_family

_FITS = 0.75, 1.25
_FITS_WITHOUT_EYES = 0.4
"""Shares of the published parameters that a file may hold; a model that sees keeps its encoder in another file."""


class Catalogue:
    """Models by id; raises ``Damaged`` when two have one id, one tag or one build."""

    def __init__(self, models: Iterable[Model]) -> None:
        self.models = tuple(models)
        self._by_id = _unique((model.id, model) for model in self.models)
        self._by_tag = _unique((tag, model) for model in self.models for tag in model.ollama)
        _unique((f"{build.repo}/{build.file or ''}", model) for model in self.models for build in model.builds)

    @cached_property
    def _by_repository(self) -> dict[str, Model]:
        return _unambiguous((repo.lower(), model) for model in self.models for repo in _repositories(model))

    @cached_property
    def _by_key(self) -> dict[str, Model]:
        return _unambiguous((key_of(name), model) for model in self.models for name in _names(model))

    def get(self, name: str) -> Model | None:
        """The model of that id, Ollama tag, repository or any spelling of its name."""
        plain = name.strip().lower()
        by_tag = self._by_tag.get(without_quantization(plain))
        return self._by_id.get(plain) or by_tag or self._by_repository.get(plain) or self._by_key.get(key_of(plain))

    def search(self, words: Iterable[str], purpose: Purpose | None = None) -> tuple[Model, ...]:
        """The models in which every word occurs, for that purpose."""
        wanted = [word.lower() for word in words]
        return tuple(
            model
            for model in self.models
            if (purpose is None or purpose in model.purposes) and all(word in _haystack(model) for word in wanted)
        )

    def match(self, build: Build, metadata: Mapping[str, object] | None = None, tag: str = "") -> Model | None:
        """The model that ``build`` is of, by what its path and its header say; ``None`` rather than a guess."""
        known = [repo for repo in repositories_in(build.path.parts) if repo.lower() in self._by_repository]
        return self.identify(
            file=build.path.name,
            header=header_names(metadata) if metadata is not None else (build.name,),
            repository=known[0] if known else "",
            tag=tag,
            parameters=build.parameters,
            kind=build.kind,
        )

    def identify(
        self,
        file: str = "",
        header: Iterable[str] = (),
        repository: str = "",
        tag: str = "",
        parameters: int = 0,
        kind: Kind = Kind.TEXT,
    ) -> Model | None:
        """The model of that file, header, repository or Ollama tag; ``None`` when they are silent or disagree.

        A file whose own name is strange is a stranger, whatever else says: tunes keep the header of the model they
        came from. A tag is outweighed by the header, since tags move to newer models.
        """
        by_file = self._by_key.get(key_of(file))
        if says_something(file) and by_file is None:
            return None
        by_repository = self._by_repository.get((repository or repository_in_tag(tag)).lower())
        by_header = next((found for name in header if (found := self._by_key.get(key_of(name)))), None)
        by_tag = self._by_tag.get(without_quantization(tag)) or self._by_key.get(key_of(tag)) if tag else None
        named = {found.id: found for found in (by_file, by_repository, by_header) if found}
        found = next(iter(named.values()), by_tag) if len(named) < 2 else None
        return found if found and _is_plausible(found, parameters, kind) else None


@cache
def load() -> Catalogue:
    """The catalogue that ships, read once; raises ``Damaged`` naming the file and model at fault."""
    folder = resources.files("nanolocal.library.catalogue") / "families"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    return Catalogue(model for file in files for model in read_family(file.name, file.read_text("utf-8")))


def _names(model: Model) -> Iterator[str]:
    """Every name that means this model and no other."""
    yield model.id
    yield model.name
    for repo in _repositories(model):
        owner, _, name = repo.partition("/")
        yield name
        yield f"{owner}_{name}"
    for build in model.builds:
        if build.file and "*" not in build.file:
            yield build.file.rpartition("/")[2]


def _repositories(model: Model) -> Iterator[str]:
    yield model.origin
    yield from (build.repo for build in model.builds)


def _haystack(model: Model) -> str:
    facts = (model.id, model.name, model.family, model.maker, model.licence, *model.purposes, *model.ollama)
    return " ".join(facts).lower()


def _is_plausible(model: Model, parameters: int, kind: Kind) -> bool:
    if (Purpose.IMAGE in model.purposes) is not (kind is Kind.IMAGE):
        return False
    if not parameters or not model.parameters or kind is Kind.IMAGE:
        return True
    least = _FITS_WITHOUT_EYES if Purpose.VISION in model.purposes else _FITS[0]
    return least <= parameters / model.parameters <= _FITS[1]


def _unique(pairs: Iterable[tuple[str, Model]]) -> dict[str, Model]:
    found: dict[str, Model] = {}
    for key, model in pairs:
        if key in found:
            raise Damaged(f"the catalogue has {key} twice: {found[key].id} and {model.id}", "install nanolocal again")
        found[key] = model
    return found


def _unambiguous(pairs: Iterable[tuple[str, Model]]) -> dict[str, Model]:
    """Keys that one model claims; what two claim means neither."""
    found: dict[str, Model | None] = {}
    for key, model in pairs:
        found[key] = model if found.setdefault(key, model) is model else None
    return {key: model for key, model in found.items() if model is not None}
