"""The model: its card, with the confusion matrix as a picture."""

import streamlit as st

from skinxai.demo.answering import shared
from skinxai.demo.markup import as_html
from skinxai.demo.showing import around_confusion, card_text, confusion, plain


def model() -> None:
    """The model that answers."""
    classifier = shared().classifier
    st.caption(plain(classifier.model))
    card = card_text(classifier.card) or "The model has no card."
    found = around_confusion(card, classifier.config.labels)
    if found is None:
        _show(as_html(card))
        return
    before, counts, after = found
    picture = confusion(counts, classifier.config.labels)
    _show(as_html(before) + picture + as_html(after))


def _show(body: str) -> None:
    st.html(f"<div class='card'>{body}</div>")
