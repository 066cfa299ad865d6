"""The README as an index of packages shows it: its relative links made absolute.

Hatchling's own hook, run whenever skinxai is built. The address of the repository stands in
pyproject.toml, in ``tool.hatch.metadata.hooks.custom``; while it is empty, links stay as they are.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(
    r"""(\]\(<?|^\[[^\]]+\]:\ +|(?:src|href)=")   # Markdown's two kinds of links, and HTML's
        (?![a-z][a-z0-9+.-]*:|\#|/)(?:\./)?       # neither absolute nor within the page
        ([^\s)">]+)""",
    re.MULTILINE | re.VERBOSE,
)
PICTURES = (".gif", ".jpeg", ".jpg", ".png", ".svg", ".webp")


def absolute(text: str, address: str) -> str:
    """Markdown whose links lead from anywhere to the files of the repository at ``address``.

    Args:
        text: Markdown with links relative to the repository's root.
        address: of the repository in the Web, as GitHub and GitLab have it; empty: no change.
    """
    if not address:
        return text

    def lead(link: re.Match[str]) -> str:
        kind = "raw" if link[2].lower().endswith(PICTURES) else "blob"
        return f"{link[1]}{address.rstrip('/')}/{kind}/HEAD/{link[2]}"

    return LINK.sub(lead, text)


class LongDescription(MetadataHookInterface):
    """Reads README.md."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, self.config["address"]),
        }
