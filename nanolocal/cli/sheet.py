"""Vouchers to hand out: as text that can be redeemed from a file, and as a page to print and cut."""

from collections.abc import Sequence
from html import escape

from nanolocal.chat.amounts import format_credits
from nanolocal.cli import qr
from nanolocal.ledger.base32 import DEVICE
from nanolocal.ledger.vouchers import Voucher, VoucherKind, moment

_STYLE = """
@page { margin: 12mm; }
body { font: 11pt/1.35 sans-serif; margin: 0; color: #000; background: #fff; }
.voucher { display: flex; gap: 4mm; align-items: center; padding: 3mm; border: 0.3mm dashed #888; margin: 0 0 -0.3mm;
  break-inside: avoid; }
.voucher svg { flex: none; width: 45mm; height: 45mm; }
.amount { font-size: 15pt; font-weight: bold; }
pre { font: 8pt/1.4 monospace; margin: 1.5mm 0; }
p { margin: 0; }
.how { font-size: 8pt; }
"""


def heading(voucher: Voucher) -> str:
    """The facts of a voucher in one line."""
    return f"{_amount(voucher)}, serial {voucher.serial}, until {moment(voucher.not_after)}, {_for_whom(voucher)}"


def text(vouchers: Sequence[Voucher]) -> str:
    """One paragraph a voucher, each below a comment that says what it is."""
    return "\n".join(f"# {heading(voucher)}\n{voucher.text()}\n" for voucher in vouchers)


def page(vouchers: Sequence[Voucher]) -> str:
    """One HTML page with a QR code a voucher; it loads nothing and runs nothing."""
    cards = "\n".join(_card(voucher) for voucher in vouchers)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Vouchers</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{cards}\n</body></html>\n"
    )


def _card(voucher: Voucher) -> str:
    return (
        f'<div class="voucher">{qr.svg(voucher.code())}<div>'
        f'<p class="amount">{escape(_amount(voucher))}</p>'
        f"<p>serial {voucher.serial}, {escape(_for_whom(voucher))}<br>good until {moment(voucher.not_after)}</p>"
        f"<pre>{voucher.text()}</pre>"
        '<p class="how">nanolocal credits voucher redeem, then type or paste the code</p></div></div>'
    )


def _amount(voucher: Voucher) -> str:
    return f"{format_credits(voucher.amount)} credits"


def _for_whom(voucher: Voucher) -> str:
    if voucher.kind is VoucherKind.BEARER:
        return "for whoever has it"
    return f"for {DEVICE.write(voucher.device)}"
