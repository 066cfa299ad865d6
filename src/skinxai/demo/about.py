"""The model: its card, with the confusion matrix as a picture."""

from __future__ import annotations

import streamlit as st

from skinxai.demo.answering import shared
from skinxai.demo.showing import around_confusion, card_text, confusion, plain


def model() -> None:
    """The model that answers."""
    classifier = shared().classifier
    st.caption(plain(classifier.model))
    card = card_text(classifier.card) or "The model has no card."
    found = around_confusion(card, classifier.config.labels)
    if found is None:
        st.markdown(card)
        return
    before, counts, after = found
    st.markdown(before)
    st.html(confusion(counts, classifier.config.labels))
    st.markdown(after)
