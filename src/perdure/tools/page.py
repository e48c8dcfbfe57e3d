"""A web page as Markdown: what a person would read of it, with its links, and nothing that is hidden.

Nothing of a page is ever loaded besides the page: an image becomes its description, frames and scripts
are left out. As a script it is a reader that is run apart, and so it imports nothing of Perdure; see `apart`.
"""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

SECONDS = 10
MEMORY = 1 << 30
MAX_DEPTH = 150
"""Elements inside one another; what is deeper is taken as plain text."""
MAX_LINK = 2_000
MIN_MAIN = 0.3
"""Share of a page's text that its main part must hold to stand for the page."""

_DROPPED = (
    "script, style, noscript, template, iframe, frame, frameset, object, embed, applet, svg, canvas, math, "
    "audio, video, source, track, map, area, link, meta, base, dialog, input, select, textarea, button, "
    "option, datalist, [hidden], [aria-hidden=true], .sr-only, .visually-hidden, .screen-reader-text"
)
_AROUND = "nav, footer, aside, header, [role=navigation], [role=banner], [role=contentinfo], [role=search]"
_MAIN = ("main", "[role=main]", "article", "#content", "#main")
_HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|opacity\s*:\s*0(?:\.0+)?\s*(?:[;!]|$)"
    r"|font-size\s*:\s*0*\.?0*[01]?(?:px|pt|em|rem|%)?\s*(?:[;!]|$)|content-visibility\s*:\s*hidden"
    r"|(?:left|top|right|text-indent|margin-left)\s*:\s*-\d{3,}|clip\s*:\s*rect\(\s*0|clip-path\s*:\s*inset"
    r"|(?:max-)?(?:width|height)\s*:\s*[01](?:px)?\s*(?:[;!]|$)|color\s*:\s*transparent"
    r"|transform\s*:\s*scale\(\s*0\s*\)",
    re.IGNORECASE,
)
_RULE = re.compile(r"([^{}]{1,500})\{([^{}]{0,2000})\}")
_SIMPLE = re.compile(r"[a-zA-Z]*[.#][A-Za-z_][\w-]{0,80}")
_BLANKS = re.compile(r"[ \t\n\f\r]+")
_MANY = re.compile(r"\n{3,}")
_BLOCKS = frozenset(
    (
        *("address", "article", "aside", "body", "center", "details", "dd", "div", "dl", "dt"),
        *(
            "fieldset",
            "figcaption",
            "figure",
            "footer",
            "form",
            "header",
            "html",
            "main",
            "nav",
            "p",
        ),
        *("section", "summary"),
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    title: str
    text: str
    links: int
    """How many there were in the text."""


def read_page(html: str, url: str) -> Page:
    """Some 100 ms for a megabyte; without end for one that was made so."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(html)
    title_node = tree.css_first("title")
    title = _BLANKS.sub(" ", title_node.text()).strip()[:300] if title_node is not None else ""
    base_node = tree.css_first("base[href]")
    base = _join(url, (base_node.attributes.get("href") or "")) if base_node is not None else url
    _strip(tree)
    body = tree.body
    if body is None:
        return Page(title=title, text="", links=0)
    writer = _Writer(base or url)
    text = writer.text(_main(body))
    if title and text.startswith(f"# {title}\n"):
        text = text[len(title) + 3 :].lstrip("\n")
    return Page(title=title, text=text, links=writer.links)


def _strip(tree: LexborHTMLParser) -> None:
    hiding = [
        selector.strip()
        for style in tree.css("style")
        for selectors, rules in _RULE.findall(style.text()[:200_000])
        if _HIDING.search(rules)
        for selector in selectors.split(",")
        if _SIMPLE.fullmatch(selector.strip())
    ]
    for selector in (_DROPPED, *dict.fromkeys(hiding[:200])):
        for node in tree.css(selector):
            if node.tag not in ("html", "body"):
                node.decompose()
    for node in tree.css("[style]"):
        if _HIDING.search(node.attributes.get("style") or "") and node.tag not in ("html", "body"):
            node.decompose()


def _main(body: LexborNode) -> LexborNode:
    """The part of a page that it is about, where the page says so."""
    whole = len(body.text())
    for selector in _MAIN:
        found = body.css(selector)
        if len(found) == 1 and len(found[0].text()) >= MIN_MAIN * whole:
            return found[0]
    around = body.css(_AROUND)
    if sum(len(node.text()) for node in around) <= (1 - MIN_MAIN) * whole:
        for node in body.css("nav, [role=navigation], [role=search]"):
            node.decompose()
    return body


def _join(base: str, href: str) -> str:
    """An absolute http(s) or mail address, or nothing."""
    href = _BLANKS.sub("", href.strip())
    if not href or href.startswith("#") or len(href) > MAX_LINK:
        return ""
    try:
        whole = urljoin(base, href)
    except ValueError:
        return ""
    if not whole.lower().startswith(("http://", "https://", "mailto:")):
        return ""
    return whole.replace("(", "%28").replace(")", "%29").replace("<", "%3C").replace(">", "%3E")


class _Writer:
    def __init__(self, base: str) -> None:
        self._base = base
        self.links = 0

    def text(self, node: LexborNode) -> str:
        lines = self._children(node, 0).split("\n")
        return _MANY.sub("\n\n", "\n".join(line.rstrip() for line in lines)).strip()

    def _children(self, node: LexborNode, depth: int) -> str:
        pieces: list[str] = []
        for child in node.iter(include_text=True):
            piece = self._one(child, depth + 1)
            if pieces and pieces[-1].endswith("\n"):
                piece = piece.lstrip(" ")  # blanks between blocks are the source's, not the page's
            if piece:
                pieces.append(piece)
        return "".join(pieces)

    def _one(self, node: LexborNode, depth: int) -> str:
        tag = node.tag or ""
        if tag == "-text":
            return _BLANKS.sub(" ", node.text_content or "")
        if tag.startswith("-"):
            return ""
        if depth > MAX_DEPTH:
            return _BLANKS.sub(" ", node.text())
        if write := _WRITERS.get(tag):
            return write(self, node, depth)
        inner = self._children(node, depth)
        return f"\n\n{inner.strip()}\n\n" if tag in _BLOCKS else inner

    def _heading(self, node: LexborNode, depth: int) -> str:
        inner = _BLANKS.sub(" ", self._children(node, depth)).strip()
        return f"\n\n{'#' * int((node.tag or 'h1')[1])} {inner}\n\n" if inner else ""

    def _link(self, node: LexborNode, depth: int) -> str:
        inner = self._children(node, depth)
        href = _join(self._base, node.attributes.get("href") or "")
        label = _BLANKS.sub(" ", inner).strip().replace("[", "(").replace("]", ")")
        if not href or not label:
            return inner
        self.links += 1
        before = " " if inner[:1].isspace() else ""
        return f"{before}[{label}]({href}){' ' if inner[-1:].isspace() else ''}"

    def _image(self, node: LexborNode, depth: int) -> str:
        alt = _BLANKS.sub(" ", node.attributes.get("alt") or "").strip()[:300]
        return f"(image: {alt})" if alt else ""

    def _break(self, node: LexborNode, depth: int) -> str:
        return "\n"

    def _rule(self, node: LexborNode, depth: int) -> str:
        return "\n\n---\n\n"

    def _strong(self, node: LexborNode, depth: int) -> str:
        inner = self._children(node, depth)
        return f"**{inner.strip()}**" if inner.strip() and "\n" not in inner.strip() else inner

    def _code(self, node: LexborNode, depth: int) -> str:
        inner = node.text()
        return f"`{inner}`" if inner.strip() and "`" not in inner and "\n" not in inner else inner

    def _pre(self, node: LexborNode, depth: int) -> str:
        inner = node.text().strip("\n")
        fence = "```" if "```" not in inner else "````"
        return f"\n\n{fence}\n{inner}\n{fence}\n\n" if inner.strip() else ""

    def _quote(self, node: LexborNode, depth: int) -> str:
        inner = _MANY.sub("\n\n", self._children(node, depth)).strip()
        return "\n\n" + "\n".join(f"> {line}" for line in inner.split("\n")) + "\n\n"

    def _list(self, node: LexborNode, depth: int) -> str:
        lines: list[str] = []
        for item in node.iter():
            inner = _MANY.sub("\n", self._one(item, depth + 1)).strip()
            if inner:
                mark = f"{len(lines) + 1}." if node.tag == "ol" else "-"
                lines.append(f"{mark} " + re.sub(r"\n+", "\n  ", inner))
        return "\n\n" + "\n".join(lines) + "\n\n"

    def _table(self, node: LexborNode, depth: int) -> str:
        rows = []
        parts = [part for part in node.iter() if part.tag in ("thead", "tbody", "tfoot")]
        # Not those of tables within its cells, which are written with the cells.
        for row in (row for part in (node, *parts) for row in part.iter() if row.tag == "tr"):
            cells = [
                _BLANKS.sub(" ", self._children(cell, depth + 1)).strip().replace("|", "\\|")
                for cell in row.iter()
                if cell.tag in ("td", "th")
            ]
            if any(cells):
                rows.append(cells)
        if not rows:
            return ""
        if max(map(len, rows)) == 1:  # for layout
            return "\n\n" + "\n\n".join(cells[0] for cells in rows) + "\n\n"
        width = max(map(len, rows))
        lines = [f"| {' | '.join(cells + [''] * (width - len(cells)))} |" for cells in rows]
        lines.insert(1, "|" + " --- |" * width)
        return "\n\n" + "\n".join(lines) + "\n\n"


_WRITERS: dict[str, Callable[[_Writer, LexborNode, int], str]] = {
    **{f"h{level}": _Writer._heading for level in range(1, 7)},
    "a": _Writer._link,
    "img": _Writer._image,
    "br": _Writer._break,
    "hr": _Writer._rule,
    "b": _Writer._strong,
    "strong": _Writer._strong,
    "code": _Writer._code,
    "pre": _Writer._pre,
    "blockquote": _Writer._quote,
    "ul": _Writer._list,
    "ol": _Writer._list,
    "table": _Writer._table,
}


def main() -> int:
    """HTML as UTF-8 on standard input, its address as the argument; JSON on standard output."""
    confine = runpy.run_path(str(Path(__file__).with_name("confine.py")))["confine"]
    try:
        import selectolax.lexbor  # noqa: F401
    except ImportError:
        return 3
    html = sys.stdin.buffer.read().decode("utf-8", "replace")
    confine(SECONDS, MEMORY)
    page = read_page(html, sys.argv[1])
    told = {"title": page.title, "text": page.text, "links": page.links}
    sys.stdout.buffer.write(json.dumps(told).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
