"""How long a visitor of the demo waits: from an image to its prediction and Grad-CAM on screen.

Usage: python benchmarks/demo_speed.py [--rounds 10]        (needs Chromium: sh scripts/debian)

A running server and a browser on this machine. Each round uploads another image of 600 × 450, and
waits until its heatmap is painted. Writes results/demo_speed.json.
"""

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from skinxai import samples

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from demo_server import chromium, running  # noqa: E402

PAINTED = """([name, before]) => [...document.images].some(
    i => i.alt.startsWith('Heatmap') && i.complete && i.src != before) &&
    [...document.querySelectorAll('[data-testid=stImageCaption]')].some(c => c.innerText == name)
"""
HEATMAP = "[...document.images].find(i => i.alt.startsWith('Heatmap'))?.src"


def another(number: int) -> bytes:
    """A JPEG of 600 × 450 that was not there before."""
    with Image.open(samples.paths()[number % 4]) as image:
        turned = image.resize((600, 450)).rotate(7 * number)
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def main(rounds: int) -> None:
    seconds = []
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder)) as (address, _),
        chromium() as browser,
    ):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        page.get_by_alt_text("Heatmap").wait_for()
        page.get_by_text("File", exact=True).click()
        page.locator("input[type=file]").wait_for(state="attached")
        for number in range(rounds + 1):
            name, before = f"image {number}.jpg", page.evaluate(HEATMAP)
            image = {"name": name, "mimeType": "image/jpeg", "buffer": another(number)}
            started = time.perf_counter()
            page.locator("input[type=file]").set_input_files(image)
            page.wait_for_function(PAINTED, arg=[name, before])
            seconds.append(time.perf_counter() - started)
    warm = seconds[1:]
    report = {
        "rounds": rounds,
        "seconds, median": round(statistics.median(warm), 2),
        "seconds, longest": round(max(warm), 2),
    }
    (HERE / "results" / "demo_speed.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    main(parser.parse_args().rounds)
