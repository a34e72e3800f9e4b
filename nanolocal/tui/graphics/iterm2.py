"""iTerm2's inline pictures, which WezTerm and mintty know too.

https://iterm2.com/documentation-images.html
"""

import base64


def show(png: bytes, columns: int, rows: int) -> str:
    """Show a picture over so many cells from the cursor on."""
    text = base64.b64encode(png).decode("ascii")
    keys = f"inline=1;size={len(png)};width={columns};height={rows};preserveAspectRatio=1;doNotMoveCursor=1"
    return f"\x1b]1337;File={keys}:{text}\x07"
