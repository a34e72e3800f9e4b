"""The one place that wires everything together. Faces get a ``Session`` and know no other room's insides."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat import trial
from nanolocal.chat.decisions import Weighed
from nanolocal.chat.drawing import STEP_CACHES
from nanolocal.chat.embedding import Embedder
from nanolocal.chat.messages import Attachment, Usage
from nanolocal.chat.ports import Helpers, PriceCard
from nanolocal.chat.routes import Build, Kind, Tally
from nanolocal.chat.tuning import LEAST_GAIN, USUAL, Tuning
from nanolocal.chat.turn import Chat
from nanolocal.compress.background import Background as LabBackground
from nanolocal.device.bandwidth import known_bandwidth, memory_bandwidth
from nanolocal.device.machine import Machine, inspect
from nanolocal.device.memory import Memory
from nanolocal.device.power import Meter
from nanolocal.engines.governor import Stay
from nanolocal.engines.pool import EnginePool
from nanolocal.errors import NanolocalError, OutOfMemory, UsageError
from nanolocal.hardening import harden_process
from nanolocal.helpers.lazy import LazyToolbox
from nanolocal.ledger.losses import LedgerLosses
from nanolocal.ledger.prices import Electricity
from nanolocal.ledger.schema import MIGRATIONS as LEDGER_MIGRATIONS
from nanolocal.ledger.signing import DeviceKey
from nanolocal.ledger.wallet import Wallet
from nanolocal.library.library import Library
from nanolocal.library.opening import open_library
from nanolocal.library.pull.background import Background
from nanolocal.library.pull.hub import endpoint_of, token_setting
from nanolocal.library.watched import WatchedEngines
from nanolocal.paths import Paths, make_private, starter_models
from nanolocal.routing import explain
from nanolocal.routing.router import Rules, TaskRouter
from nanolocal.routing.surroundings import PLAIN_BANDWIDTH, Surroundings
from nanolocal.settings import Settings
from nanolocal.settings import load as load_settings
from nanolocal.vault import backup, repair
from nanolocal.vault.conversations import Conversations
from nanolocal.vault.experience import Experience
from nanolocal.vault.files import check_local
from nanolocal.vault.gallery import Pictures
from nanolocal.vault.promptcache import PromptCacheStore
from nanolocal.vault.schema import MIGRATIONS as VAULT_MIGRATIONS
from nanolocal.vault.snapshots import Snapshot
from nanolocal.vault.snapshots import listed as listed_snapshots
from nanolocal.vault.tunings import Tunings
from nanolocal.vault.unpacking import Inventory
from nanolocal.vault.vault import Vault, VaultState

if TYPE_CHECKING:
    from nanolocal.compress.lab import Lab
    from nanolocal.compress.measuring.calibration import Text
    from nanolocal.compress.work.cluster import Scheduler
    from nanolocal.compress.work.tasks import Question
    from nanolocal.engines.abilities import Abilities
    from nanolocal.engines.isolation import Isolation
    from nanolocal.engines.search import Tried
    from nanolocal.engines.sidebyside import Comparison, Figure, Plan
    from nanolocal.library.pull.pulling import Source

__all__ = [
    "Comparison",
    "Figure",
    "Plan",
    "Session",
    "Tried",
    "VaultState",
    "back_up_vault",
    "bench_plan",
    "beside_llama_cpp",
    "engine_isolation",
    "erase_vault",
    "has_recovery_code",
    "lab_chats",
    "lab_questions",
    "lab_weights",
    "llama_cpp_abilities",
    "open_helpers",
    "open_lab",
    "open_library",
    "open_picture_tunings",
    "open_router",
    "open_session",
    "open_tunings",
    "open_vault",
    "open_wallet",
    "peek",
    "restore_backup",
    "restore_vault",
    "snapshots",
    "tune",
    "tune_pictures",
    "vault_state",
]


_MOST_CHATS = 500
"""Conversations that the lab calibrates on, the newest."""
_MIGRATIONS = (*VAULT_MIGRATIONS, *LEDGER_MIGRATIONS)


@dataclass(slots=True)
class Session:
    """An open vault and everything that works on it."""

    paths: Paths
    settings: Settings
    machine: Machine
    vault: Vault
    store: Conversations
    gallery: Pictures
    experience: Experience
    tunings: Tunings
    ledger: Wallet
    library: Library
    router: TaskRouter
    engines: EnginePool
    watched: WatchedEngines
    meter: Meter
    chat: Chat
    pulls: Background
    lab: LabBackground
    prompt_cache: PromptCacheStore

    def embedder(self) -> Embedder:
        """What makes vectors of texts."""
        return Embedder(self.router.embeds, self.store, self.ledger, self.watched)

    def redeem(self, code: str) -> tuple[int, str]:
        """Add a voucher to the wallet; returns its micro-credits and who issued it. Raises ``UsageError``."""
        from nanolocal.ledger.redeeming import redeem

        taken = redeem(self.ledger, code)
        return taken.voucher.amount, taken.issuer.name

    def check_model(self, name: str) -> None:
        """Raise ``UsageError`` where no prompt could be answered under that name: a build's, ``auto:fast``."""
        self.router.check(name)

    def reckon(self, case: Mapping[str, object]) -> tuple[Weighed, ...]:
        """Decide once more from what was stored with an answer; raises ``Damaged`` where that cannot be done."""
        return explain.weighed(case)

    def picture_file(self, picture: Attachment, *, with_metadata: bool = False) -> bytes:
        """A picture as it leaves the vault: a PNG of pixels alone, or with what it was drawn with.

        Raises ``UsageError`` for one that cannot be read.
        """
        from nanolocal.vault.transfer.picturefiles import leaving

        return leaving(picture, with_metadata=with_metadata)

    async def close(self, *, keeps: bool = True) -> None:
        """End a pull, keeping what has arrived, and the engines; then close the vault.

        ``keeps`` is false where no conversation is likely to go on, so that nothing need be kept of what was read.
        """
        await asyncio.to_thread(self.pulls.close)
        await asyncio.to_thread(self.lab.close)
        await self.engines.close(keeps=keeps)
        self.prompt_cache.close()
        self.vault.close()


def vault_state(paths: Paths) -> VaultState:
    """Whether there is a vault, and what opens it."""
    return Vault.state(paths.vault)


def open_router(
    library: Library, settings: Settings, machine: Machine, around: Callable[[], Surroundings] | None = None
) -> TaskRouter:
    """The router over ``library``; without a vault, that is without ``around``, it knows no speeds and no prices."""
    budget = machine.memory_budget(settings.memory_mb)
    rules = Rules(settings.prefer, settings.deny, settings.deny_licences)
    return TaskRouter(library.builds, around or (lambda: Surroundings(budget)), rules)


def open_pulls(
    paths: Paths, settings: Settings, machine: Machine, store: Conversations, library: Library
) -> Background:
    """Downloads beside the conversation, with the token that the vault keeps; connects to nothing until one starts."""

    def source() -> "Source":
        from nanolocal.library.pull.choosing import best_that_fits
        from nanolocal.library.pull.pulling import Source

        endpoint = endpoint_of(settings.hub)
        token = os.environ.get("HF_TOKEN", "").strip() or store.setting(token_setting(endpoint)) or ""
        budget = machine.memory_budget(settings.memory_mb)
        pick = best_that_fits(budget, memory_bandwidth(paths.bandwidth))
        return Source(endpoint, token, paths.models, library, pick, settings.insecure_hub)

    return Background(lambda: endpoint_of(settings.hub), source)


def open_session(
    paths: Paths, passphrase: str | None, vault: Vault | None = None, *, tells_licences: bool = True
) -> Session:
    """Open the vault, or make one: with ``passphrase``, or with a key file when it is ``None``; or take an open one.

    ``tells_licences`` is false where no one reads what is said before a build's first answer. Raises ``VaultLocked``,
    ``Damaged`` or ``UsageError``; then nothing was changed.
    """
    settings = load_settings(paths.settings)
    vault = vault or open_vault(paths, passphrase)
    machine = inspect()
    library = open_library(paths, settings)
    store = Conversations(vault.database, vault.blobs)
    experience = Experience(vault.database)
    tunings = open_tunings(vault, machine)
    ledger = open_wallet(vault, settings)
    meter = Meter.open()
    prompt_cache = PromptCacheStore(vault.database, settings.cache_mb)
    prompt_cache.trim()
    fitting = _Fitting(tunings, library, machine, lambda: open_picture_tunings(vault, machine))
    engines = _open_pool(settings, machine, library, prompt_cache, fitting)
    router = open_router(
        library, settings, machine, _surroundings(paths, settings, machine, engines, experience, ledger)
    )
    watched = WatchedEngines(engines, library, starter_models(), tells_licences=tells_licences)
    chat = Chat(
        router, store, ledger, watched, meter, helpers=open_helpers(settings), keeps_previews=settings.keep_preview
    )
    return Session(
        paths=paths,
        settings=settings,
        machine=machine,
        vault=vault,
        store=store,
        gallery=Pictures(vault.database, vault.blobs),
        experience=experience,
        tunings=tunings,
        ledger=ledger,
        library=library,
        router=router,
        engines=engines,
        watched=watched,
        meter=meter,
        chat=chat,
        pulls=open_pulls(paths, settings, machine, store, library),
        lab=LabBackground(lambda: open_lab(paths, settings, library), lab_questions, library.builds),
        prompt_cache=prompt_cache,
    )


def _open_pool(
    settings: Settings, machine: Machine, library: Library, cache: PromptCacheStore, fitting: "_Fitting"
) -> EnginePool:
    return EnginePool(
        machine.memory_budget(settings.memory_mb),
        cache=cache,
        gauge=Memory(),
        stay=Stay(settings.keep_loaded, 60 * settings.unload_minutes),
        tunings=fitting,
        companions=lambda: {part.name: part.path for part in (*library.adapters(), *library.controlnets())},
    )


def _surroundings(
    paths: Paths, settings: Settings, machine: Machine, engines: EnginePool, experience: Experience, ledger: Wallet
) -> Callable[[], Surroundings]:
    """What the router finds around it each time it picks."""
    budget = machine.memory_budget(settings.memory_mb)
    bandwidth = known_bandwidth(paths.bandwidth) or PLAIN_BANDWIDTH

    def around() -> Surroundings:
        cards: dict[str, PriceCard] = {}

        def cost(build: Build, usage: Usage) -> int:
            if build.sha256 not in cards:
                cards[build.sha256] = ledger.shown_price(build)
            return cards[build.sha256].cost(usage)

        return Surroundings(
            memory_budget=budget,
            bandwidth=bandwidth,
            resident=engines.resident(),
            speeds=experience.speeds(),
            tallies=experience.tallies(),
            balance=ledger.balance(),
            cost=cost,
        )

    return around


def open_helpers(settings: Settings) -> Helpers | None:
    """What works sums out and looks things up, unless the settings say no; reads nothing before it is asked."""
    return LazyToolbox(starter_models() / "nanolocal-reference" / "reference.nlref") if settings.helpers else None


def open_tunings(vault: Vault, machine: Machine) -> Tunings:
    """What was measured of builds on this device."""
    return Tunings(vault.database, machine.fingerprint, _version_of("llama-cpp-python"))


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def open_picture_tunings(vault: Vault, machine: Machine) -> Tunings:
    """What was measured of builds that draw, with the libraries that draw now."""
    libraries = " ".join(f"{name} {_version_of(name)}" for name in ("diffusers", "torch"))
    return Tunings(vault.database, machine.fingerprint, libraries)


async def tune_pictures(session: Session, build: Build, tell: "Callable[[Tried], None]") -> tuple[Tuning, float]:
    """The step cache that certainly pays for a build that draws, and how many times as fast it is; see ``cachetrial``.

    ``tell`` hears of each that was tried. Raises ``EngineFailed``.
    """
    from nanolocal.engines import cachetrial

    name, gain = await cachetrial.tune(session.engines, build, trial.picture_of(build), tell)
    return replace(USUAL, cache=name), gain


class _Fitting:
    """Implements ``chat.ports.Tunings``: what was measured, with the layers that a graphics card has room for."""

    def __init__(self, tunings: Tunings, library: Library, machine: Machine, pictures: Callable[[], Tunings]) -> None:
        self._tunings = tunings
        self._pictures = cache(pictures)
        self._library = library
        self._has_card = bool(machine.accelerators)
        self._offloads: bool | None = None

    def of(self, build: Build, n_ctx: int) -> Tuning:
        tuned = self._tunings.of(build.sha256)
        tuning = USUAL if tuned is None else tuned.tuning
        layers = self._layers(build, n_ctx) if self._has_card and tuning.gpu_layers else None
        return tuning if layers is None else replace(tuning, gpu_layers=layers)

    def may_guess(self, sha256: str, task: str) -> bool:
        return self._tunings.may_guess(sha256, task)

    def step_cache(self, build: Build) -> str:
        tuned = self._pictures().of(build.sha256)
        return "" if tuned is None or tuned.tuning.cache not in STEP_CACHES else tuned.tuning.cache

    def draft(self, build: Build) -> Build | None:
        tuned = self._tunings.of(build.sha256)
        if tuned is None or not tuned.tuning.draft:
            return None
        return next((other for other in self._library.builds() if other.sha256 == tuned.tuning.draft), None)

    def _layers(self, build: Build, n_ctx: int) -> int | None:
        """How many layers fit; ``None`` where nobody says what is free, or llama.cpp uses no card."""
        from nanolocal.device import gpus
        from nanolocal.library.fit.layout import read_layout
        from nanolocal.library.fit.offload import layers_that_fit

        free = [card.memory_free for card in gpus.gpus() if card.memory_free is not None]
        if not free or build.kind is not Kind.TEXT:
            return None
        if self._offloads is None:
            abilities = llama_cpp_abilities()
            self._offloads = abilities is not None and abilities.gpu_offload
        try:
            return layers_that_fit(read_layout(build.path), free, n_ctx) if self._offloads else None
        except (NanolocalError, OSError):
            return None


async def tune(build: Build, library: Library, memory: int, tell: "Callable[[Tried], None]") -> tuple[Tuning, float]:
    """The fastest settings of a build, and how many times as fast it is; ``tell`` hears of each that was tried.

    Small builds of ``library`` may write ahead of it within ``memory`` bytes. Raises ``EngineFailed``.
    """
    from nanolocal.engines import drafting, search
    from nanolocal.engines import tune as tuning
    from nanolocal.library.drafts import drafts_for

    found, gain = await tuning.tune(tuning.question_for(build), tell)
    most = LEAST_GAIN
    for draft in drafts_for(build, library.builds()):
        try:
            ahead = await drafting.gain_of(build, draft, replace(found, draft=""), memory)
        except OutOfMemory:
            continue
        is_taken = ahead >= most
        tell(search.Tried(f"{draft.id} writing ahead", ahead, is_taken))
        if is_taken:
            found, most = replace(found, draft=draft.sha256), ahead
    return found, gain * most if found.draft else gain


def open_vault(paths: Paths, passphrase: str | None) -> Vault:
    """The vault alone, made when there is none."""
    harden_process()
    if vault_state(paths) is VaultState.ABSENT:
        check_local(paths.vault)
        make_private(paths.data)
        return Vault.create(paths.vault, passphrase, _MIGRATIONS)
    return repair.open_vault(paths.vault, passphrase, _MIGRATIONS, LedgerLosses())


def peek(paths: Paths, passphrase: str | None) -> Vault | None:
    """The vault, where there is one that opens without asking anybody. Repairs nothing, makes none, tells nothing."""
    try:
        state = vault_state(paths)
        if state is VaultState.ABSENT or (state is VaultState.PASSPHRASE and passphrase is None):
            return None
        harden_process()
        return Vault.open(paths.vault, passphrase, _MIGRATIONS)
    except NanolocalError:
        return None


def restore_vault(paths: Paths, passphrase: str | None, snapshot: Path | None) -> Vault:
    """Repair a damaged vault from a snapshot, or go on without what is missing; see ``repair.restore``."""
    harden_process()
    vault = repair.restore(paths.vault, passphrase, _MIGRATIONS, LedgerLosses(), snapshot)
    open_wallet(vault)
    return vault


def back_up_vault(vault: Vault, file: Path, told: backup.Told, *, overwrite: bool) -> Inventory:
    """Write an open vault into one encrypted file; see ``backup.make``."""
    return backup.make(vault, file, _MIGRATIONS, LedgerLosses(), told, overwrite=overwrite)


def restore_backup(paths: Paths, file: Path, secret: Callable[[], str | None], told: backup.Told) -> Inventory:
    """Make the vault from such a file; see ``backup.restore``."""
    harden_process()
    return backup.restore(file, paths.vault, secret, _MIGRATIONS, LedgerLosses(), told)


def has_recovery_code(paths: Paths) -> bool:
    """Whether there is a vault that a recovery code opens; needs no passphrase."""
    return Vault.has_recovery_code(paths.vault)


def snapshots(paths: Paths) -> list[Snapshot]:
    """The encrypted copies of the database, the newest first; needs no passphrase."""
    return listed_snapshots(paths.vault / "snapshots")


def engine_isolation() -> "Isolation":
    """What an engine gives up on this machine."""
    from nanolocal.engines import isolation

    return isolation.ask()


def llama_cpp_abilities() -> "Abilities | None":
    """What llama.cpp was built with, asked in a child of its own; ``None`` when it cannot be loaded."""
    from nanolocal.engines import abilities

    return abilities.ask()


def bench_plan(
    build: Build, folder: Path, memory: int, rounds: int, prompt_tokens: int, answer_tokens: int, tuning: Tuning
) -> "Plan":
    """What ``beside_llama_cpp`` is to measure."""
    from nanolocal.engines.sidebyside import Plan

    return Plan(build, folder, memory, rounds, prompt_tokens, answer_tokens, tuning)


async def beside_llama_cpp(plan: "Plan", show: Callable[[str], None]) -> "Comparison":
    """The speed of a build next to bare llama.cpp, with a prompt cache that is gone at the end.

    ``show`` is told what happens. Raises ``EngineFailed``.
    """
    from nanolocal.engines import sidebyside

    make_private(plan.folder)
    return await sidebyside.compare(plan, Meter.open(), show)


def open_lab(
    paths: Paths,
    settings: Settings,
    library: Library,
    scheduler: "Scheduler | None" = None,
    text: "Text | None" = None,
) -> "Lab":
    """The compression lab, with what this machine has now.

    Probes go to the workers of ``scheduler`` where there is one; ``text`` is a public one that they may be about.
    """
    from nanolocal.compress.lab import Lab
    from nanolocal.compress.plan import Device
    from nanolocal.device.disk import free_bytes
    from nanolocal.engines.launch import usable_cores

    memory, bandwidth = inspect().memory_budget(settings.memory_mb), memory_bandwidth(paths.bandwidth)
    device = Device(memory, free_bytes(paths.models), bandwidth, usable_cores())
    if scheduler is None:
        return Lab(paths.models, library, device)
    from nanolocal.compress.work.cluster import runners

    return Lab(paths.models, library, device, runner=runners(scheduler, text))


def lab_questions(each: int = 4) -> "tuple[Question, ...]":
    """The suite: so many questions of each exam, with the answer that is right and those that are wrong."""
    from nanolocal.compress.work.tasks import Question
    from nanolocal.routing.exams import paper

    return tuple(
        Question(exam.task, item.ask, (item.right, *item.wrong)) for exam in paper.load() for item in exam.items[:each]
    )


def lab_weights(tallies: Mapping[tuple[str, str], Tally]) -> dict[str, float]:
    """What each task of the suite counts, by what this device was used for: 1 on average; empty for a new one."""
    tries: dict[str, float] = {}
    for (_, task), tally in tallies.items():
        if task != "*":
            tries[task] = tries.get(task, 0.0) + tally.tries
    usual = sum(tries.values()) / len(tries) if tries else 0.0
    return {task: count / usual for task, count in tries.items()} if usual else {}


def lab_chats(session: Session, build: Build) -> "Text":
    """The user's conversations as ``build`` reads them, for its calibration: in memory alone, and never written.

    Raises ``UsageError`` where there are too few.
    """
    from nanolocal.compress.measuring import calibration
    from nanolocal.engines.templates import Template, TemplateFailed, tidy, without_system
    from nanolocal.library.fit.layout import read_layout

    source = read_layout(build.path).facts.metadata.get("tokenizer.chat_template")
    words = {"bos_token": "", "eos_token": ""}
    documents: list[str] = []
    try:
        template = Template(str(source) if source else None, words)
        for row in session.store.chats(_MOST_CHATS):
            talk = [message.message for message in session.store.path(row.id) if message.message.text]
            talk = tidy([replace(message, attachments=()) for message in talk])
            try:
                pieces = template.render(talk)
            except TemplateFailed:
                pieces = template.render(without_system(talk))
            documents.append("".join(piece.text for piece in pieces))
    except TemplateFailed as error:
        raise UsageError(f"{build.id} cannot read conversations: {error}", "calibrate without `chats`") from error
    return calibration.split(documents, name=f"{len(documents)} own conversations", is_public=False)


def erase_vault(paths: Paths) -> None:
    """Destroy the vault for good."""
    Vault.erase(paths.vault)


def open_wallet(vault: Vault, settings: Settings | None = None) -> Wallet:
    """The ledger in an open vault, checked against the vault's anchor; see its ``problem``.

    ``settings`` say what electricity costs: they are needed by whoever asks it for prices.
    """
    anchor = vault.anchor
    drafts = Conversations(vault.database, vault.blobs)
    device = DeviceKey(vault.keys.device)
    power = None if settings is None else Electricity(settings.watts, settings.tariff)
    return Wallet.open(vault.database, device, (anchor.seq, anchor.head), vault.keep_anchor, power, drafts=drafts)
