"""Markdown that others wrote, as HTML of the page: the one place that shows it."""

import html
from collections.abc import Iterable
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from skinxai.plain_text import printable

BLOCKS = frozenset({
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote",
    "table", "thead", "tbody", "tr", "th", "td",
})  # fmt: skip
INLINE = frozenset({"em", "strong", "s"})

LOWER = {"h1": "h2", "h2": "h3", "h3": "h4", "h4": "h5", "h5": "h6"}
MAX_TEXT = 200_000
"""Characters of a text that are shown."""


def as_html(markdown: str) -> str:
    r"""Headings, lists, tables, emphasis and code; everything else is shown as its text.

    Links and pictures become their words with the address behind them: nothing can be clicked,
    and nothing is fetched. Each tag of the result is one of `BLOCKS` and `INLINE`, or ``<code>``,
    ``<pre>``, ``<br>`` and ``<hr>``, and has no attribute.

    In the place of each hidden character stands an escape, such as ``\x1b``.

    Args:
        markdown: CommonMark, with tables and text that is struck through; its headings become one
            level lower, below the page's own.
    """
    return "".join(_shown(_parser().parse(markdown[:MAX_TEXT])))


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
            code = f"<code>{_text(token.content)}</code>"
            yield code if token.type == "code_inline" else f"<pre>{code}</pre>"
        elif token.type == "link_open":
            links.append("" if token.info == "auto" else str(token.attrGet("href") or ""))
        elif token.type == "link_close":
            yield _address(links.pop())
        elif token.type == "image":
            yield _text(token.content) + _address(str(token.attrGet("src") or ""))
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
            yield _text(token.content)


def _address(url: str) -> str:
    return f" ({_text(url)})" if url else ""


def _text(words: str) -> str:
    """Escaped here and not before it is parsed: Markdown writes characters as numbers, too."""
    return html.escape(printable(words, keep="\n\t"))
