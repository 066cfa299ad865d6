"""Markdown that others wrote, as HTML of the page: the one place that shows it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

BLOCKS = frozenset({
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote",
    "table", "thead", "tbody", "tr", "th", "td",
})  # fmt: skip
INLINE = frozenset({"em", "strong", "s"})

LOWER = {"h1": "h2", "h2": "h3", "h3": "h4", "h4": "h5", "h5": "h6"}
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the order of what follows them."""
MAX_TEXT = 200_000
"""Characters of a text that are shown."""


def as_html(markdown: str) -> str:
    """Headings, lists, tables, emphasis and code; everything else is shown as its text.

    Links and pictures become their words with the address behind them: nothing can be clicked,
    and nothing is fetched. Each tag of the result is one of `BLOCKS` and `INLINE`, or ``<code>``,
    ``<pre>``, ``<br>`` and ``<hr>``, and has no attribute.

    Args:
        markdown: CommonMark, with tables and text that is struck through; its headings become one
            level lower, below the page's own.
    """
    return "".join(_shown(_parser().parse(UNSEEN.sub("", markdown[:MAX_TEXT]))))


@cache
def _parser() -> MarkdownIt:
    """HTML is text to it, and tokens of other kinds than ours are not made."""
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def _shown(tokens: Iterable[Token]) -> Iterable[str]:
    links: list[str] = []
    for token in tokens:
        if token.type == "inline":
            yield from _shown(token.children or ())
        elif token.type in ("code_inline", "code_block", "fence"):
            code = f"<code>{html.escape(token.content)}</code>"
            yield code if token.type == "code_inline" else f"<pre>{code}</pre>"
        elif token.type == "link_open":
            links.append("" if token.info == "auto" else str(token.attrGet("href") or ""))
        elif token.type == "link_close":
            yield _address(links.pop())
        elif token.type == "image":
            yield html.escape(token.content) + _address(str(token.attrGet("src") or ""))
        elif token.type == "hardbreak":
            yield "<br>"
        elif token.type == "softbreak":
            yield "\n"
        elif token.type == "hr":
            yield "<hr>"
        elif token.tag in (BLOCKS | INLINE) and token.nesting:
            tag = LOWER.get(token.tag, token.tag)
            if not token.hidden:
                yield f"<{tag}>" if token.nesting > 0 else f"</{tag}>"
        else:
            yield html.escape(token.content)


def _address(url: str) -> str:
    return f" ({html.escape(url)})" if url else ""
