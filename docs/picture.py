"""Turn what a terminal showed into a picture: `… | python docs/picture.py docs/demo.svg "pinchpoint watch -- …"`."""

import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text


def main() -> None:
    """Read text with colours from standard input and write an SVG of 84 columns."""
    target, title = Path(sys.argv[1]), sys.argv[2]
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=84, file=nowhere, force_terminal=True)
        console.print(Text.from_ansi(sys.stdin.read()))
        drawn = console.export_svg(title=title, theme=MONOKAI)
        # a picture that fetches nothing: the fonts of whoever looks at it are good enough
        drawn = re.sub(r"@font-face \{.*?\}|<!--.*?-->", "", drawn, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")
        target.write_text(re.sub(r"\n\s*\n+", "\n", drawn), "utf-8")


if __name__ == "__main__":
    main()
