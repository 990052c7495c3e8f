"""Turn what a terminal showed into a picture: `… | python docs/picture.py docs/demo.svg "pinchpoint watch -- …"`."""

import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text


def main() -> None:
    """Read text with colours from standard input and write an SVG of 88 columns."""
    target, title = Path(sys.argv[1]), sys.argv[2]
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=88, file=nowhere, force_terminal=True)
        console.print(Text.from_ansi(sys.stdin.read()))
        target.write_text(console.export_svg(title=title, theme=MONOKAI), "utf-8")


if __name__ == "__main__":
    main()
