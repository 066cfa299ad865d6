"""A card that somebody else wrote: its words are shown, and nothing of it is fetched or clicked."""

import re

import pytest

from skinxai import Classifier
from skinxai.demo.markup import BLOCKS, INLINE, as_html
from skinxai.demo.showing import card_text

TAG = re.compile(r"<(/?[a-zA-Z!][^>]*)>")
ALLOWED = BLOCKS | INLINE | {"code", "pre", "br", "hr"}
FORGED = (
    "!![x](http://a.example/x.png)",
    "![x](http://a.example/x.png 'title')",
    "![a ![b](http://a.example/1)](http://a.example/2)",
    "![x][r]\n\n[r]: http://a.example/x.png",
    "[![x](http://a.example/x.png)](http://b.example)",
    "<img src=http://a.example/x.png>",
    "<div style='background:url(http://a.example)'>\n\n**b**\n</div>",
    "<script>alert(1)</script>",
    "a <svg onload=alert(1)> b",
    "<style>@import 'http://a.example'</style>",
    "<iframe src=http://a.example></iframe>",
    "<!-- x --> <![CDATA[x]]> <?x?>",
    "[x](javascript:alert(1)) [y](data:text/html,x)",
    "[x](http://a.example)",
    "<http://a.example> http://b.example www.c.example a@d.example",
    "&lt;img src=x&gt; &#60;script&#62;",
    "`<b>`\n\n```<i>\n<script>\n```\n\n    <u>",
    "| <b> | ![x](http://a.example) |\n|---|:-:|\n| <img src=x> | `<i>` |",
    "# <b>\n## ![x](http://a.example/x.png)",
    ":material/delete: $x$ :red[x] :streamlit:",
)


@pytest.mark.parametrize("text", FORGED)
def test_a_forged_card_has_no_tag_but_ours_and_no_attribute(text: str) -> None:
    for shown in (as_html(text), as_html(f"# A card\n\n* {text}\n\n> {text}")):
        assert {tag.lstrip("/") for tag in TAG.findall(shown)} <= ALLOWED
        assert "<" not in TAG.sub("", shown)


def test_links_and_pictures_are_their_words_and_addresses() -> None:
    assert as_html("see [this](http://a.example)") == "<p>see this (http://a.example)</p>"
    assert as_html("!![x](http://a.example/x.png)") == "<p>!x (http://a.example/x.png)</p>"
    assert as_html("<http://a.example>") == "<p>http://a.example</p>"


def test_headings_lists_tables_emphasis_and_code_are_shown() -> None:
    assert as_html("# A\n\n1. *b* **c** ~~d~~\n2. `e`") == (
        "<h2>A</h2><ol><li><em>b</em> <strong>c</strong> <s>d</s></li><li><code>e</code></li></ol>"
    )
    assert as_html("| a |\n|--:|\n| 1 |") == (
        "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>1</td></tr></tbody></table>"
    )
    assert as_html("a  \nb\n\n---\n\n    c") == "<p>a<br>b</p><hr><pre><code>c\n</code></pre>"


def test_hidden_characters_are_escaped() -> None:
    assert as_html("mel\x1b[2K\u202env") == r"<p>mel\x1b[2K\u202env</p>"
    assert as_html("a\u200b\u3164\U000e0041" + "\u0301" * 11) == (
        r"<p>a\u200b\u3164\U000e0041" + "\u0301" * 10 + r"\u0301</p>"
    )
    assert as_html("&#x202e;b `\x9b` ![\u2066](&#8203;)") == (
        r"<p>\u202eb <code>\x9b</code> \u2066 (%E2%80%8B)</p>"
    )
    assert as_html("# a\r\n\r\nb\rc\td") == "<h2>a</h2><p>b\nc\td</p>"


def test_the_bundled_card_keeps_its_words(classifier: Classifier) -> None:
    shown = as_html(card_text(classifier.card))
    assert "<td>CC BY-NC 4.0" in shown and shown.count("<table>") >= 4
    assert "---" not in shown.partition("</h2>")[0]
