"""The commands about credits."""

import asyncio

from nanolocal.chat.amounts import format_credits, parse_credits
from nanolocal.chat.picturefacts import settings
from nanolocal.errors import NanolocalError, UsageError
from nanolocal.safetext import safe_line
from nanolocal.tui.credit_pages import Account, receipt_page
from nanolocal.tui.lines import error_text
from nanolocal.tui.ports import WalletPort
from nanolocal.tui.screens.credits import CreditsScreen
from nanolocal.tui.screens.overlay import Page
from nanolocal.tui.stage import ChatStage

_HISTORY = 200
_OFF = "off"


class CreditActions:
    """Acting on one chat screen."""

    def __init__(self, stage: ChatStage) -> None:
        self._stage = stage

    async def credits(self, args: str) -> None:
        """Show balance, budgets and the newest entries; Enter opens a receipt."""
        account = await asyncio.to_thread(_account, self._stage.session.ledger)
        self._stage.app.push_screen(CreditsScreen(account, self._open_receipt))

    def _open_receipt(self, name: str) -> None:
        self._stage.app.run_worker(self._show_receipt(name), group="receipt", exclusive=True)

    async def _show_receipt(self, name: str) -> None:
        try:
            await self.receipt(name)
        except NanolocalError as error:
            self._stage.say(error_text(error))

    async def receipt(self, name: str) -> None:
        """Show how the charge of an entry came about; without a number, that of the last answer."""
        rows = await asyncio.to_thread(self._rows, name or await self._last_hold())
        self._stage.app.push_screen(Page("Receipt", receipt_page(rows)))

    def _rows(self, name: str) -> list[tuple[str, str]]:
        """The charge, and what its pictures were drawn with."""
        session = self._stage.session
        rows = list(session.ledger.receipt(name))
        for picture in session.gallery.drawn_under(session.ledger.hold_named(name)):
            rows.append(("picture", picture.id))
            rows += [] if picture.receipt is None else settings(picture.receipt)
        return rows

    async def _last_hold(self) -> str:
        answers = [turn.answer.id for turn in self._stage.conversation.turns if turn.answer is not None]
        hold = await asyncio.to_thread(self._stage.session.store.hold_of, answers[-1]) if answers else None
        if hold is None:
            raise UsageError("there is no answer here that was charged", "/credits lists every charge.")
        return hold

    async def topup(self, amount: str) -> None:
        """Add to the balance."""
        micro = parse_credits(amount)
        await asyncio.to_thread(self._stage.session.ledger.top_up, micro)
        await self._tell(f"Added {format_credits(micro)} credits.")

    async def redeem(self, code: str) -> None:
        """Add a voucher to the balance."""
        micro, issuer = await asyncio.to_thread(self._stage.session.redeem, code)
        await self._tell(f"Added {format_credits(micro)} credits from {safe_line(issuer)}.")

    async def budget(self, args: str) -> None:
        """Set or lift a budget; without words, show them all."""
        if not args:
            await self.credits("")
            return
        scope, _, limit = args.rpartition(" ")
        if not scope:
            raise UsageError("how much may be spent is missing", f"/budget {args} 0.10, or off")
        micro = None if limit.lower() == _OFF else parse_credits(limit)
        await asyncio.to_thread(self._stage.session.ledger.set_budget, scope.strip(), micro)
        what = "is lifted" if micro is None else f"is {format_credits(micro)} credits"
        await self._tell(f"The budget {safe_line(scope.strip())} {what}.")

    async def _tell(self, line: str) -> None:
        """Say it, and take back what was told about a refusal: it may not hold any more."""
        balance = await asyncio.to_thread(self._stage.session.ledger.balance)
        self._stage.conversation.offer = None
        await self._stage.transcript.clear_notice()
        self._stage.show_balance(balance)
        self._stage.say(line)


def _account(ledger: WalletPort) -> Account:
    (today, month), problem = ledger.spending(), ledger.problem
    words = "" if problem is None else problem.message
    return Account(ledger.balance(), today, month, ledger.budgets(), ledger.history(_HISTORY), words)
