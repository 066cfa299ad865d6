"""The Python of the page on uncertainty runs as it stands there."""

import re

import numpy as np
from places import ROOT

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_code_of_the_page_runs(capsys):
    draws = np.random.default_rng(0)
    rows = draws.dirichlet(np.ones(3), (4, 60))  # (P, N, K)
    top = rows[0].max(axis=1)
    names = {
        "probabilities": rows[0],
        "target": draws.integers(0, 3, 60),
        "lesion_ids": [f"HAM_{n // 2}" for n in range(60)],
        "new_probabilities": rows[1],
        "labels": ("bkl", "mel", "nv"),
        "weights": None,
        "top_probability": top,
        "scores": top**2,
        "right": draws.random(60) < top,
    }
    page = (ROOT / "docs/explanation/uncertainty.md").read_text()
    blocks = BLOCK.findall(page)
    assert len(blocks) == 5
    exec(blocks[0], {})
    shown = re.search(r"^```text\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert capsys.readouterr().out == shown[1]
    exec(blocks[1], names)
    assert names["sets"].shape == (60, 3)
    names["probabilities"] = rows
    exec(blocks[2], names)
    assert names["found"].passes == 20 and names["found"].by == "dropout (head: p = 0.2)"
    exec(blocks[3], names)
    assert names["found"].passes == 4
    exec(blocks[4], names)
    assert names["compared"].difference.value == 0
    assert "Entropy is not shown to be better" in capsys.readouterr().out
