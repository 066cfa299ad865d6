"""The script that streamlit runs for each visitor."""

from pathlib import Path

import streamlit as st

from skinxai.demo.about import model
from skinxai.demo.batch import batch
from skinxai.demo.comparing import comparison
from skinxai.demo.one import one_image
from skinxai.demo.showing import STYLE

ABOUT = (
    "**skinxai** classifies dermatoscopic images and shows why. A research tool, no medical device."
)
st.set_page_config(
    page_title="skinxai", page_icon=":material/dermatology:", layout="wide",
    menu_items={"About": ABOUT},
)  # fmt: skip
st.html(STYLE)
st.logo(Path(__file__).with_name("logo.svg"), size="large")
page = st.navigation(
    [
        st.Page(one_image, title="One image", icon=":material/image:", default=True),
        st.Page(comparison, title="Compare", icon=":material/grid_view:", url_path="compare"),
        st.Page(batch, title="Batch", icon=":material/photo_library:", url_path="batch"),
        st.Page(model, title="Model", icon=":material/info:", url_path="model"),
    ],
    position="top",
)
page.run()
st.html(
    "<p class='caution'>A research tool, no medical device: no diagnosis may rest on it. Images "
    "are kept in this server's memory alone, neither written to its disk nor logged.</p>"
)
