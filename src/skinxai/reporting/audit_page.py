"""The page of an audit: its findings, and suspicious pairs side by side."""

import html
import json
import os
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from skinxai.data.splits import PARTS, Splits
from skinxai.disk.staging import write_together
from skinxai.disk.writing import check_folder
from skinxai.errors import SkinxaiError
from skinxai.images.limits import MAX_PIXELS
from skinxai.images.reading import read_image
from skinxai.plain_text import agreeing, counted
from skinxai.reporting.map_pictures import data_url, jpeg
from skinxai.reporting.page import page
from skinxai.results import AuditedPair, AuditReport

WIDTH = 320
MAX_PAIRS = 200
STYLE = """
.pictures figure { display: inline-block; margin: 0 .5rem .5rem 0; vertical-align: top }
.pictures img { width: 20rem; max-width: 100%; height: auto; display: block; border-radius: .3rem }
"""


def write_audit(
    report: AuditReport,
    splits: Splits,
    folder: str | os.PathLike[str],
    *,
    max_pixels: int = MAX_PIXELS,
) -> tuple[Path, Path]:
    """Write ``audit.html`` (one file, no request to any server) and ``audit.json``.

    Args:
        report: report from ``skinxai.data.audit``.
        splits: the audited splits, which have the images of the pairs.
        folder: folder to write to; it is created if it does not exist.
        max_pixels: largest number of pixels of an image that is decoded, as in the audit.

    Returns:
        Both paths.

    Raises:
        OutputError: if the folder cannot be written.
    """
    target = Path(folder)
    check_folder(target)
    paths = {item.image_id: item.path for part in PARTS for item in getattr(splits, part)}
    shown, data = target / "audit.html", target / "audit.json"

    def picture(image_id: str) -> str:
        return _picture(paths[image_id], max_pixels)

    values = json.dumps(report.to_dict(), indent=2).encode() + b"\n"
    write_together(target, {data.name: values, shown.name: _page(report, picture).encode()})
    return shown, data


def _page(report: AuditReport, picture: Callable[[str], str]) -> str:
    counts = ", ".join(f"{part} {count}" for part, count in report.counts.items())
    verdict = "No error." if report.ok else "Figures from this split would be wrong."
    rows = "".join(
        f"<tr class='{f.severity}'><td>{f.severity}</td><td>{html.escape(f.kind)}</td>"
        f"<td>{f.count}</td><td>{html.escape(f.message)}</td></tr>"
        for f in report.findings
    )
    pairs = "".join(_pair(pair, picture) for pair in report.pairs[:MAX_PAIRS])
    more = len(report.pairs) - MAX_PAIRS
    others = f"{counted(more, 'more pair')} {agreeing(more, 'is', 'are')} in audit.json."
    rest = f"<p>{others}</p>" if more > 0 else ""
    title = f"Audit of {report.data}"
    body = (
        f"<h1>{html.escape(title)}</h1><p>{counts}. <b>{verdict}</b></p><section class='card "
        f"scroll'><table><tr><th>severity<th>kind<th>count<th>what</tr>{rows}</table></section>"
        f"<h2>Different lesions that look like the same skin: {len(report.pairs)}</h2>"
        f"{pairs}{rest}"
    )
    return page(title, body, STYLE)


def _pair(pair: AuditedPair, picture: Callable[[str], str]) -> str:
    sides = zip((pair.image_id, pair.other_id), pair.parts, pair.labels, strict=True)
    figures = "".join(
        f"<figure>{picture(name)}<figcaption>{html.escape(name)}: {html.escape(label)}, "
        f"{part}</figcaption></figure>"
        for name, part, label in sides
    )
    return (
        f"<section class='card pictures'>{figures}<p class='note'>{pair.kind}, similarity "
        f"{pair.similarity:.2f}, {counted(pair.keypoints, 'keypoint')} "
        f"{agreeing(pair.keypoints, 'agrees', 'agree')}</p></section>"
    )


def _picture(path: Path, max_pixels: int) -> str:
    try:
        image = Image.fromarray(read_image(path, max_pixels=max_pixels).pixels)
    except SkinxaiError as error:  # it could be read a moment ago
        return f"<p>{html.escape(str(error))}</p>"
    image.thumbnail((WIDTH, WIDTH))
    return f"<img alt='' src='{data_url(jpeg(image, 85, 2))}'>"
