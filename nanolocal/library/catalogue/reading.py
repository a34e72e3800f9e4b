"""From the text of a family file to models; whatever does not add up is refused with the file and the model named."""

import re
import tomllib

from nanolocal.errors import Damaged
from nanolocal.library.catalogue.entries import Modality, Model, Offer, Purpose, Score
from nanolocal.library.catalogue.names import quantization_of
from nanolocal.library.catalogue.tables import Table

# Bits a weight, from the sizes of 8 B builds; small models with large vocabularies lie well off.
BITS = {
    "F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K": 6.6, "Q5_K_M": 5.7, "Q5_K_S": 5.5, "Q5_0": 5.5,
    "Q5_1": 6.0, "Q4_K_M": 4.9, "Q4_K_S": 4.6, "Q4_0": 4.6, "Q4_1": 5.0, "IQ4_XS": 4.3, "IQ4_NL": 4.5, "MXFP4": 4.3,
    "Q3_K_L": 4.3, "Q3_K_M": 4.0, "Q3_K_S": 3.6, "IQ3_M": 3.7, "IQ3_XS": 3.3, "IQ3_XXS": 3.1, "Q2_K": 3.2,
    "IQ2_M": 2.9, "IQ2_S": 2.7, "IQ2_XS": 2.5, "IQ2_XXS": 2.2, "IQ1_M": 1.9,
}  # fmt: skip
_TOO_SMALL, _TOO_LARGE = 0.6, 1.7
_MAX_PARAMETERS = 5 * 10**12
_CONTEXT = 128, 10 * 2**20
_DEFAULTS = (
    "maker", "licence", "licence_url", "architecture", "template", "notes", "context", "purposes", "inputs", "outputs",
)  # fmt: skip
_ID = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILE = re.compile(r"(?:[\w-][\w.-]*/)*[\w*-][\w.*-]*\.(gguf|safetensors)")
_TAG = re.compile(r"[a-z0-9][a-z0-9._-]*(:[a-z0-9][a-z0-9._-]*)?")


def read_family(file: str, text: str) -> tuple[Model, ...]:
    """The models of one family; raises ``Damaged`` with one reason."""
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Damaged(f"{file} is not TOML: {error}", "install nanolocal again, or mend the file") from error
    shared = {key: values.pop(key) for key in _DEFAULTS if key in values}
    entries = values.pop("model", None)
    head = Table(values, file)
    family = head.text("family")
    head.done()
    if not isinstance(entries, list) or not entries:
        raise head.refuse("it holds no [[model]]")
    return tuple(_model(file, n, family, shared, entry) for n, entry in enumerate(entries, 1))


def _model(file: str, n: int, family: str, shared: dict[str, object], entry: object) -> Model:
    if not isinstance(entry, dict):
        raise Damaged(f"{file}: model {n} is not a table", "install nanolocal again, or mend the file")
    table = Table({**shared, **entry}, f"{file}: {entry.get('id', f'model {n}')}")
    if ("licence" in entry) is not ("licence_url" in entry):
        raise table.refuse("licence and licence_url go together")
    purposes = table.words("purposes", Purpose)
    model = Model(
        id=table.text("id"),
        name=table.text("name"),
        family=family,
        maker=table.text("maker"),
        origin=table.text("origin"),
        licence=table.text("licence"),
        licence_url=table.url("licence_url"),
        purposes=purposes,
        inputs=table.words("inputs", Modality, (Modality.TEXT,)),
        outputs=table.words("outputs", Modality, (Modality.TEXT,)),
        parameters=table.count("parameters", 1_000_000, _MAX_PARAMETERS),
        active=table.count("active", 1_000_000, _MAX_PARAMETERS),
        context=table.count("context", *_CONTEXT),
        released=table.date("released"),
        architecture=table.optional_text("architecture"),
        template=table.optional_text("template"),
        notes=table.optional_text("notes"),
        ollama=table.texts("ollama"),
        builds=tuple(_offer(build) for build in table.tables("builds")),
        scores=tuple(_score(score) for score in table.tables("scores")),
    )
    table.done()
    _check(table, model)
    return model


def _offer(table: Table) -> Offer:
    file = table.optional_text("file")
    said = quantization_of(file) if file else None
    given = table.optional_text("quantization")
    quantization = given or said
    if given and said in BITS and given != said:
        raise table.refuse(f"the file's name says {said}, not {given}")
    if quantization is not None and quantization not in BITS:
        raise table.refuse(f"quantization {quantization!r} is not known")
    mmproj = table.optional_text("mmproj")
    offer = Offer(table.text("repo"), file, quantization, table.count("size_bytes", 1, 2**44), mmproj)
    table.done()
    if not _REPO.fullmatch(offer.repo) or ".." in offer.repo:
        raise table.refuse(f"{offer.repo!r} is not owner/name")
    for name in (file, mmproj):
        if name is not None and (not _FILE.fullmatch(name) or ".." in name):
            raise table.refuse(f"{name!r} is no name of a GGUF or safetensors file")
    return offer


def _score(table: Table) -> Score:
    name, score, source = table.text("name"), table.number("score"), table.url("source")
    date, scale = table.date("date"), table.optional_text("scale")
    table.done()
    if date is None:
        raise table.refuse("date is missing")
    if scale is None and not 0 <= score <= 100:
        raise table.refuse(f"{score:g} is not between 0 and 100 and names no scale")
    return Score(name, score, source, date, scale)


def _check(table: Table, model: Model) -> None:
    """What no single key can tell."""
    if not _ID.fullmatch(model.id):
        raise table.refuse("id is not made of lower-case letters, digits, dots and dashes")
    if not _REPO.fullmatch(model.origin):
        raise table.refuse(f"origin {model.origin!r} is not owner/name")
    if not model.purposes:
        raise table.refuse("purposes is missing")
    if model.active is not None and (model.parameters is None or model.active >= model.parameters):
        raise table.refuse("active is not below parameters")
    for purpose, modalities, needed in (
        (Purpose.VISION, model.inputs, Modality.IMAGE),
        (Purpose.AUDIO, model.inputs, Modality.AUDIO),
        (Purpose.IMAGE, model.outputs, Modality.IMAGE),
        (Purpose.EMBEDDING, model.outputs, Modality.VECTOR),
    ):
        if purpose in model.purposes and needed not in modalities:
            raise table.refuse(f"a model for {purpose} needs {needed} among its modalities")
    for tag in model.ollama:
        if not _TAG.fullmatch(tag):
            raise table.refuse(f"{tag!r} is no tag of Ollama")
    for build in model.builds:
        _check_size(table, model, build)


def _check_size(table: Table, model: Model, build: Offer) -> None:
    if build.size_bytes is None or build.quantization is None or model.parameters is None:
        return
    expected = model.parameters * BITS[build.quantization] / 8
    if not _TOO_SMALL * expected <= build.size_bytes <= _TOO_LARGE * expected:
        reason = f"{build.size_bytes} bytes cannot hold {model.parameters} parameters in {build.quantization}"
        raise table.refuse(reason)
