"""The script that streamlit runs for each visitor."""

import os
from base64 import b64encode
from pathlib import Path

import streamlit as st

from skinxai.demo.about import model
from skinxai.demo.batch import batch
from skinxai.demo.comparing import comparison
from skinxai.demo.one import one_image

ICON = Path(__file__).with_name("icon.svg")
HEAD = f"""<div class='top'>
<img src='data:image/svg+xml;base64,{b64encode(ICON.read_bytes()).decode()}' alt=''>
<h1>Classify a skin lesion, and see why</h1></div>
<p class='caution'>A research tool, <strong>not a medical device</strong>: do not use it for
diagnosis.</p>"""
st.set_page_config(page_title="skinxai", page_icon=ICON, layout="wide")
st.html(Path(__file__).with_name("style.css"))
pages = [
    st.Page(one_image, title="One image", default=True),
    st.Page(comparison, title="Compare", url_path="compare"),
    st.Page(batch, title="Batch", url_path="batch"),
    st.Page(model, title="Model", url_path="model"),
]
written = "and are neither written to its disk nor logged."
if os.environ.get("SKINXAI_DEMO_REVIEW"):
    from skinxai.demo.reviewing import review

    pages.append(st.Page(review, title="Review", url_path="review"))
    written += " Labels that you give on the page Review are kept in its database, with your name."
page = st.navigation(pages, position="hidden")
with st.container(horizontal=True, gap="small", key="pages"):
    for each in pages:
        st.page_link(each)
st.html(HEAD)
page.run()
st.html(
    f"<p class='privacy'>Images that you send are kept in this server's memory alone, {written}</p>"
)
