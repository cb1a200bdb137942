"""Puts what was recorded into the documentation: `python -m demo.embed FOLDER`, in tests/.

A comment before a code block says what belongs into it: `recorded: NAME.PART`, perhaps with `only` and the pattern of
the lines to keep. The lines with which the shim ends are always left out.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md"))
IMAGES = ROOT / "docs" / "images"

_BLOCK = re.compile(r"(<!-- recorded: (\S+)(?: only (.+?))? -->\n```\w+\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
_AT_THE_END = re.compile(r"info  (?:Ending|終了処理)|and \d+ more in \d+ s$|秒間にほか \d+ 件$")


def main() -> None:
    """Replace blocks and pictures."""
    folder = Path(sys.argv[1])
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        page.write_text(
            _BLOCK.sub(lambda block: block[1] + _recorded(folder, block[2], block[3]), text), encoding="utf-8"
        )
    for picture in IMAGES.glob("*.png"):
        shutil.copy(folder / picture.name, picture)


def _recorded(folder: Path, name: str, only: str | None) -> str:
    lines = (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not _AT_THE_END.search(line) and (only is None or re.search(only, line))]
    return "".join(f"{line}\n" for line in kept)


if __name__ == "__main__":
    main()
