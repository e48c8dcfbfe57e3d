"""A reader, run apart: the text of a PDF, page by page. Uses nothing of Perdure; see `apart`."""

from __future__ import annotations

import codecs
import importlib
import io
import pkgutil
import runpy
import sys
from contextlib import suppress
from pathlib import Path

SECONDS = 20
MEMORY = 1 << 30
MAX_PAGES = 300
MAX_CHARS = 2_000_000
CODECS = (
    *("ascii", "latin-1", "cp1252", "charmap", "utf-8", "utf-16", "utf-16-be", "utf-16-le"),
    *("gbk", "gb2312", "gb18030", "big5", "big5hkscs", "cp950", "shift_jis", "cp932", "euc_jp"),
    *("euc_kr", "cp949", "iso2022_jp", "mac_roman", "utf-32-be", "unicode_escape"),
)
"""That documents name; none can be loaded once it is confined."""


def main() -> int:
    confine = runpy.run_path(str(Path(__file__).with_name("confine.py")))["confine"]
    try:
        import pypdf
    except ImportError:
        return 3
    for module in pkgutil.walk_packages(pypdf.__path__, "pypdf.", onerror=lambda name: None):
        with suppress(Exception):  # some want libraries that are not there
            importlib.import_module(module.name)
    for name in CODECS:
        codecs.lookup(name)
    data = sys.stdin.buffer.read()
    confine(SECONDS, MEMORY)
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        size = 0
        pages = len(reader.pages)
        for number, page in enumerate(reader.pages, 1):
            text = page.extract_text().strip()
            size += len(text)
            if number > MAX_PAGES or size > MAX_CHARS:
                _write(f"[page {number} of {pages} and what follows is left out]\n")
                break
            _write(f"[page {number} of {pages}]\n{text}\n\n")
    except Exception:
        return 1
    return 0


def _write(text: str) -> None:
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))


if __name__ == "__main__":
    sys.exit(main())
