"""Four images of HAM10000's test part, to try things on; their licence is CC BY-NC 4.0.

The first is a melanoma that the bundled model finds and the second one that it misses; a basal
cell carcinoma and a nevus follow. README.md beside them says where they come from.
"""

from pathlib import Path

FOLDER = Path(__file__).parent


def paths() -> tuple[Path, ...]:
    """The image files: two melanomas, a basal cell carcinoma and a nevus."""
    names = ("ISIC_0024333", "ISIC_0024351", "ISIC_0024436", "ISIC_0024319")
    return tuple(FOLDER / f"{name}.jpg" for name in names)
