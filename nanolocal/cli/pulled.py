"""How a pull is shown before, and told afterwards."""

import argparse
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_bytes
from nanolocal.cli import output
from nanolocal.cli.common import is_quiet

if TYPE_CHECKING:
    from nanolocal.library.fit.advice import Verdict
    from nanolocal.library.pull.pulling import Done
    from nanolocal.library.pull.running import Prepared

_MOST_FILES = 8
_COLUMNS = 80


def show(prepared: "Prepared", free: int, fit: "Verdict | None") -> None:
    """The plan, in lines of at most 80 columns, and what to expect of it here."""
    from urllib.parse import urlsplit

    plan, spot = prepared.plan, prepared.spot
    where = f"{plan.repo}, {plan.label}, commit {plan.commit[:8]}" if plan.repo else plan.typed
    output.line(where + (f" ({urlsplit(plan.endpoint).netloc})" if plan.repo else ""))
    for file in plan.files[:_MOST_FILES]:
        size = (
            "here already"
            if file in spot.present
            else "size not told"
            if file.size is None
            else format_bytes(file.size)
        )
        output.line(f"  {file.name:{_COLUMNS - 18}}  {size:>13}")
    if len(plan.files) > _MOST_FILES:
        output.line(f"  and {len(plan.files) - _MOST_FILES} more files")
    output.line(f"  {_what_is_missing(prepared)}, {format_bytes(free)} free")
    output.line(f"  into     {spot.folder}")
    if fit is not None:
        output.line(f"  here     {in_words(fit)}")
    output.line(f"  licence  {plan.terms.shown}")
    if plan.terms.gated:
        output.line("  gated    the hub gives it to accounts that have accepted its licence there")
    if not plan.repo:
        output.line("  nobody tells its hash: the one of what arrives is kept from then on")


def in_words(fit: "Verdict") -> str:
    """What a build takes and how fast it is, or what it lacks."""
    if not fit.fits:
        return f"does not fit: needs about {format_bytes(fit.needed)} of memory, {fit.says}"
    room = f" with {fit.context:,} tokens" if fit.context else ""
    pace = f", about {fit.tokens_per_s:.{0 if fit.tokens_per_s >= 10 else 1}f} tokens/s" if fit.tokens_per_s else ""
    return f"needs about {format_bytes(fit.needed)} of memory{room}{pace}"


def fit_json(fit: "Verdict | None") -> dict[str, object] | None:
    """The same for ``--json``; ``None`` where sizes are not told, or nothing here runs it."""
    if fit is None:
        return None
    pace = round(fit.tokens_per_s, 2) or None
    return {"fits": fit.fits, "needed": fit.needed, "context": fit.context or None, "tokens_per_s": pace}


def _what_is_missing(prepared: "Prepared") -> str:
    if prepared.spot.is_complete(prepared.plan):
        return "nothing to fetch: all of it is here"
    missing = "an unknown size" if prepared.missing is None else format_bytes(prepared.missing)
    goes_on = f", {format_bytes(prepared.arrived)} have arrived before" if prepared.arrived else ""
    return f"{missing} to fetch{goes_on}"


def tell_done(args: argparse.Namespace, done: "Done", seconds: float) -> None:
    """What the library has now."""
    from nanolocal.library.pull.telling import format_duration

    build, folder = done.build, done.prepared.spot.folder
    if build is None:
        output.line(f"{done.prepared.plan.files[0].name} is in {folder}: a part of a model, none itself")
        return
    if done.is_copy:
        output.line(f"{build.id} is here already, nothing was fetched: {build.path}")
        return
    size = sum(file.size for file in done.fetched)
    how = f"{format_bytes(size)} in {format_duration(seconds)}, every hash checked" if size else "it was here already"
    output.line(f"{build.id} is in the library: {how}")
    if build.needs and not is_quiet(args):
        output.note(f"it is listed, and not used yet: it needs {build.needs}")


def as_json(done: "Done", seconds: float, is_dry_run: bool) -> dict[str, object]:
    """Everything about a pull, for ``--json``."""
    plan, spot = done.prepared.plan, done.prepared.spot
    hashes = {file.name: file.sha256 for file in done.fetched}
    sizes = {file.name: file.size for file in done.fetched}
    files = [
        {
            "path": str(spot.folder / file.name),
            "bytes": sizes.get(file.name, file.size),
            "sha256": hashes.get(file.name, file.sha256) or None,
            "fetched": file.name in hashes,
        }
        for file in plan.files
    ]
    return {
        "asked": plan.typed,
        "build": done.build.id if done.build else None,
        "was_here": done.is_copy or (done.build is not None and not done.fetched),
        "repository": plan.repo or None,
        "commit": plan.commit or None,
        "quantization": plan.label,
        "licence": plan.terms.licence or None,
        "licence_url": plan.terms.link or None,
        "gated": bool(plan.terms.gated),
        "needs_consent": plan.terms.need_consent,
        "files": files,
        "bytes": plan.size,
        "bytes_fetched": sum(sizes.values()),
        "seconds": round(seconds, 3),
        "dry_run": is_dry_run,
    }
