"""The one place that wires everything together. Faces get a ``Session`` and know no other room's insides."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.decisions import Weighed
from nanolocal.chat.messages import Usage
from nanolocal.chat.ports import PriceCard
from nanolocal.chat.routes import Build
from nanolocal.chat.turn import Chat
from nanolocal.device.bandwidth import known_bandwidth, memory_bandwidth
from nanolocal.device.machine import Machine, inspect
from nanolocal.device.memory import Memory
from nanolocal.device.power import Meter
from nanolocal.engines.pool import EnginePool
from nanolocal.errors import NanolocalError
from nanolocal.hardening import harden_process
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
from nanolocal.vault.promptcache import PromptCacheStore
from nanolocal.vault.schema import MIGRATIONS as VAULT_MIGRATIONS
from nanolocal.vault.snapshots import Snapshot
from nanolocal.vault.snapshots import listed as listed_snapshots
from nanolocal.vault.unpacking import Inventory
from nanolocal.vault.vault import Vault, VaultState

if TYPE_CHECKING:
    from nanolocal.engines.abilities import Abilities
    from nanolocal.engines.isolation import Isolation
    from nanolocal.engines.sidebyside import Comparison, Figure, Plan
    from nanolocal.library.pull.pulling import Source

__all__ = [
    "Comparison",
    "Figure",
    "Plan",
    "Session",
    "VaultState",
    "back_up_vault",
    "bench_plan",
    "beside_llama_cpp",
    "engine_isolation",
    "erase_vault",
    "has_recovery_code",
    "llama_cpp_abilities",
    "open_library",
    "open_router",
    "open_session",
    "open_vault",
    "open_wallet",
    "peek",
    "restore_backup",
    "restore_vault",
    "snapshots",
    "vault_state",
]


_MIGRATIONS = (*VAULT_MIGRATIONS, *LEDGER_MIGRATIONS)


@dataclass(slots=True)
class Session:
    """An open vault and everything that works on it."""

    paths: Paths
    settings: Settings
    machine: Machine
    vault: Vault
    store: Conversations
    experience: Experience
    ledger: Wallet
    library: Library
    router: TaskRouter
    engines: EnginePool
    meter: Meter
    chat: Chat
    pulls: Background
    prompt_cache: PromptCacheStore

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

    async def close(self, *, keeps: bool = True) -> None:
        """End a pull, keeping what has arrived, and the engines; then close the vault.

        ``keeps`` is false where no conversation is likely to go on, so that nothing need be kept of what was read.
        """
        await asyncio.to_thread(self.pulls.close)
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
    ledger = open_wallet(vault, settings)
    meter = Meter.open()
    budget = machine.memory_budget(settings.memory_mb)
    prompt_cache = PromptCacheStore(vault.database, settings.cache_mb)
    prompt_cache.trim()
    engines = EnginePool(
        budget, cache=prompt_cache, gauge=Memory(), pins=settings.keep_loaded, unload_s=60 * settings.unload_minutes
    )
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

    router = open_router(library, settings, machine, around)
    watched = WatchedEngines(engines, library, starter_models(), tells_licences=tells_licences)
    chat = Chat(router, store, ledger, watched, meter)
    pulls = open_pulls(paths, settings, machine, store, library)
    return Session(
        paths,
        settings,
        machine,
        vault,
        store,
        experience,
        ledger,
        library,
        router,
        engines,
        meter,
        chat,
        pulls,
        prompt_cache,
    )


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


def bench_plan(build: Build, folder: Path, memory: int, rounds: int, prompt_tokens: int, answer_tokens: int) -> "Plan":
    """What ``beside_llama_cpp`` is to measure."""
    from nanolocal.engines.sidebyside import Plan

    return Plan(build, folder, memory, rounds, prompt_tokens, answer_tokens)


async def beside_llama_cpp(plan: "Plan", show: Callable[[str], None]) -> "Comparison":
    """The speed of a build next to bare llama.cpp, with a prompt cache that is gone at the end.

    ``show`` is told what happens. Raises ``EngineFailed``.
    """
    from nanolocal.engines import sidebyside

    make_private(plan.folder)
    return await sidebyside.compare(plan, Meter.open(), show)


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
