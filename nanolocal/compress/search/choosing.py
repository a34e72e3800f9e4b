"""From tables of losses to files worth trying: the best types of each table for a size, plain and rounded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nanolocal.compress.search.bench import Proposal
from nanolocal.compress.search.losses import Table
from nanolocal.compress.search.program import USED_UP, filled
from nanolocal.compress.search.stock import Stock
from nanolocal.compress.search.tabling import Depth
from nanolocal.compress.search.topping import above, by_bits
from nanolocal.compress.weights.sizes import cost_of, padded, retyped, weights_bytes
from nanolocal.errors import UsageError
from nanolocal.library.fit.layout import Layout

LONGEST_NAME = 40
"""Characters of the name of a proposal, at the most."""
_TRIES = 12
_NAMES = {"A": "weighted error", "B": "quadratic form", "C": "measured tensor by tensor"}
"""What the tables go by, for people."""
_ROUNDED = 2
"""Tables whose proposals are rounded too, which takes its time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may be: ``most`` bytes, and ``memory`` bytes when it runs with ``context`` tokens, if limited.

    ``header`` are the bytes before its tensors, ``weights`` those that its tensors may take and ``read`` those that may
    be read for a token written, if limited.
    """

    most: int
    header: int
    context: int
    memory: int | None = None
    weights: int | None = None
    read: int | None = None

    def hold(self, layout: Layout, types: Mapping[str, str]) -> bool:
        """Whether the model of ``layout`` with ``types`` keeps to them."""
        return self._excess(layout, types) <= 0

    def are_used(self, layout: Layout, types: Mapping[str, str]) -> bool:
        """Whether the model of ``layout`` with ``types`` takes nearly all that it may."""
        made = retyped(layout, types, self.header)
        shares = [made.size_bytes / self.most]
        shares += [] if self.memory is None else [cost_of(made, self.context).memory / self.memory]
        shares += [] if self.weights is None else [weights_bytes(made) / self.weights]
        return max(shares) >= USED_UP

    def _excess(self, layout: Layout, types: Mapping[str, str]) -> int:
        """How many bytes too much it takes, by what it exceeds most."""
        made = retyped(layout, types, self.header)
        cost = cost_of(made, self.context)
        over = [cost.size_bytes - self.most]
        over += [] if self.memory is None else [cost.memory - self.memory]
        over += [] if self.weights is None else [weights_bytes(made) - self.weights]
        over += [] if self.read is None else [cost.read - self.read]
        return max(over)

    def best(self, layout: Layout, table: Table) -> dict[str, str]:
        """The types that ``table`` gives within these limits; raises ``UsageError`` where there are none."""
        most = self.most if self.weights is None else min(self.most, self.header + self.weights)
        for _ in range(_TRIES):
            types = filled(table, most, self._other(layout, table))
            excess = self._excess(layout, types)
            if excess <= 0:
                return types
            most -= excess
        raise UsageError("no types keep to what was asked for", "a larger target")

    def _other(self, layout: Layout, table: Table) -> int:
        """Bytes of the file that the table does not know of."""
        held = set(table.tensors)
        rest = [tensor for tensor in layout.tensors if tensor.name not in held]
        return self.header + sum(padded(tensor.size_bytes) for tensor in rest)


def stock_for(limits: Limits, layout: Layout, ladder: Sequence[Stock]) -> Stock:
    """The finest stock recipe within ``limits``; raises ``UsageError`` where none is."""
    fitting = next((stock for stock in ladder if limits.hold(layout, stock.types)), None)
    if fitting is None:
        raise UsageError("no stock recipe makes a file of that size", "a larger target")
    return fitting


def stock_files(limits: Limits, layout: Layout, ladder: Sequence[Stock]) -> list[Proposal]:
    """The finest stock recipe that keeps to ``limits``, without and with an importance matrix."""
    stock = stock_for(limits, layout, ladder)
    return [
        Proposal(stock.label, stock.types, is_stock=True, has_importance=False),
        Proposal(f"{stock.label} with importance", stock.types, is_stock=True),
    ]


def topped(limits: Limits, layout: Layout, stock: Proposal, depth: Depth) -> list[Proposal]:
    """``stock`` with the bytes used that it leaves, by each table, the deepest first; none where it leaves nothing."""
    found: dict[tuple[tuple[str, str], ...], Proposal] = {}
    for table in (*reversed(depth.plain), *_without_text(layout)):
        types = _topped(limits, layout, stock.types, table)
        if types != stock.types:
            name = f"{stock.name}, topped up"
            proposal = Proposal(name, types, is_topped=True, has_importance=stock.has_importance)
            found.setdefault(tuple(types.items()), proposal)
    return [*found.values()]


def fullest(limits: Limits, layout: Layout) -> Proposal:
    """What uses all that ``limits`` leave, where stock's types and finer ones are too coarse in their steps for it."""
    return Proposal("fewest bits taken", limits.best(layout, _without_text(layout)[0]))


def proposals(limits: Limits, layout: Layout, ladder: Sequence[Stock], depth: Depth, *, rounds: bool) -> list[Proposal]:
    """What to try besides: what is the best most often, the deepest table with rounding, and so on."""
    plain = [Proposal(_named(table), limits.best(layout, table)) for table in reversed(depth.plain)]
    if not rounds:
        return plain
    stock = stock_for(limits, layout, ladder)
    deepest = [*reversed(depth.rounded)][:_ROUNDED]
    rounded = [Proposal(_named(table), limits.best(layout, table), is_rounded=True) for table in deepest]
    table = depth.plain[-1] if depth.plain else _without_text(layout)[0]
    types = _topped(limits, layout, stock.types, table)
    return [*rounded[:1], *plain, *rounded[1:], Proposal(f"{stock.label}, topped up, rounded", types, is_rounded=True)]


def _topped(limits: Limits, layout: Layout, types: Mapping[str, str], table: Table) -> dict[str, str]:
    """``types`` and finer ones within ``limits``; ``types`` alone where what they leave cannot be used."""
    tensors = {tensor.name: tensor for tensor in layout.tensors}
    try:
        return {**types, **limits.best(layout, above(table, types, tensors))}
    except UsageError:
        return dict(types)


def _without_text(layout: Layout) -> tuple[Table, Table]:
    tensors = {tensor.name: tensor for tensor in layout.tensors}
    return by_bits(tensors), by_bits(tensors, are_alike=True)


def _named(table: Table) -> str:
    letter = table.method.partition(" ")[0]
    return _NAMES.get(letter, letter) + (", rounded" if table.is_rounded else "")
