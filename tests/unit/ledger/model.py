"""The wallet as it ought to be, in plain Python, with nothing of the ledger's own code."""

import time
from dataclasses import dataclass, field, replace

MICRO = 1_000_000
LARGEST = 2**63 - 1
ALLOWANCE = 100_000
EARLIEST_S = 1_735_689_600  # 2025-01-01: before it a clock was never set


@dataclass(frozen=True, slots=True)
class Rates:
    """Micro-credits per million tokens or pixel-steps, per load, and at least."""

    prompt: int
    cached: int
    completion: int
    pixel_steps: int
    load: int
    minimum: int

    def cost(self, prompt: int, cached: int, completion: int, pixel_steps: int, loads: int) -> int:
        computed = max(prompt - cached, 0)
        if not (computed or cached or completion or pixel_steps or loads):
            return 0
        millionths = computed * self.prompt + cached * self.cached + completion * self.completion
        millionths += pixel_steps * self.pixel_steps
        whole, rest = divmod(millionths, MICRO)
        return max(self.minimum, whole + (rest > 0) + loads * self.load)


@dataclass(slots=True)
class Reserved:
    """A hold: what it is counted under, and what became of it."""

    amount: int
    build: str
    chat: str | None
    key: str | None
    day: str
    rates: Rates
    is_dead: bool = False
    draft: tuple[int, ...] | None = None
    pending: int = 0
    posted: int = 0
    is_open: bool = True
    is_stored: bool = False


def window(scope: str, hold: Reserved) -> str | None:
    """Under which sum a hold counts for a budget; ``None`` where it does not."""
    base, period = scope, ""
    for name in ("day", "month"):
        if scope == name:
            base, period = "", name
        elif scope.endswith(f"/{name}"):
            base, period = scope[: -len(name) - 1], name
    when = {"day": hold.day, "month": hold.day[:7], "": "ever"}[period]
    if not base:
        return when
    kind, _, name = base.partition(":")
    value = {"chat": hold.chat, "model": hold.build, "key": hold.key}[kind]
    if value is None or (name and name != value):
        return None
    return f"{kind}:{value} {when}"


def local_day(now_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(now_s))


@dataclass
class Model:
    """Everything that the ledger should know."""

    granted: int = ALLOWANCE
    holds: dict[str, Reserved] = field(default_factory=dict)
    grants: dict[str, int] = field(default_factory=dict)
    rates: dict[str, Rates] = field(default_factory=dict)
    budgets: dict[str, int | None] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    vouchers: list[str] = field(default_factory=list)
    trusts: bool = True

    @property
    def free(self) -> int:
        return self.granted - sum(hold.pending + hold.posted for hold in self.holds.values())

    def open_holds(self) -> list[str]:
        return [idem for idem, hold in self.holds.items() if hold.is_open]

    def resolved(self) -> list[str]:
        return [idem for idem, hold in self.holds.items() if not hold.is_open]

    def spent(self, scope: str, under: str) -> int:
        return sum(hold.pending + hold.posted for hold in self.holds.values() if window(scope, hold) == under)

    def has_room(self, wanted: Reserved) -> bool:
        return wanted.amount <= max(0, self.room(wanted))

    def room(self, wanted: Reserved) -> int:
        """The most that can be held like that; less than nothing where a budget was lowered."""
        rooms = [self.free]
        for scope, limit in self.budgets.items():
            under = window(scope, wanted)
            if limit is not None and under is not None:
                rooms.append(limit - self.spent(scope, under))
        return min(rooms)

    def reserve(self, idem: str, wanted: Reserved) -> bool:
        """Take a hold, if there is room, at once or after the holds of the dead are resolved."""
        if not self.has_room(wanted):
            copies = {name: replace(hold) for name, hold in self.holds.items()}
            after = Model(self.granted, copies, budgets=self.budgets)
            after.resolve_dead()
            if not after.has_room(wanted):
                return False
            self.resolve_dead()
        wanted.pending = wanted.amount
        self.holds[idem] = wanted
        self.kinds.append("hold")
        return True

    def charge(self, idem: str, usage: tuple[int, ...], *, is_stored: bool = False) -> int:
        hold = self.holds[idem]
        if hold.is_open:
            hold.posted = min(hold.rates.cost(*usage), hold.amount)
            hold.pending, hold.is_open, hold.is_stored = 0, False, is_stored
            self.kinds.append("settle")
        return hold.posted

    def release(self, idem: str) -> None:
        hold = self.holds[idem]
        if hold.is_open:
            hold.pending, hold.is_open = 0, False
            self.kinds.append("void")

    def resolve_dead(self) -> int:
        """What recovery does: charge and keep what was delivered, void the rest, in the order of the holds."""
        dead = [(idem, hold) for idem, hold in self.holds.items() if hold.is_dead and hold.is_open]
        for idem, hold in dead:
            if hold.draft is None:
                self.release(idem)
            else:
                self.charge(idem, hold.draft, is_stored=True)
        return len(dead)

    def grant(self, idem: str, amount: int) -> None:
        self.grants[idem] = amount
        self.granted += amount
        self.kinds.append("transfer")
