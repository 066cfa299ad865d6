"""How well the bundled model tells what is no dermoscopy: methods compared, and the errors.

The reference is fitted on the validation images. Method, axes, shrinkage and limit were chosen with
validation images, held out by lesion, against the half "choose" of the pictures; then the test
images and the half "judge" are asked once::

    python benchmarks/novelty.py HAM10000_FOLDER PICTURES_FOLDER

Pictures that are not in the folder yet are made by novelty_pictures.py. Embeddings are kept beside
them. Writes results/novelty.json, and the worst errors as PICTURES_FOLDER/worst.png.
"""

import csv
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import novelty_pictures
import numpy as np
from PIL import Image
from scipy.special import logsumexp, softmax
from scipy.stats import beta
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from skinxai import Classifier, read_image
from skinxai.trust.colours import colours
from skinxai.trust.gaussians import Gaussians
from skinxai.trust.novelty import Reference, held_out_distances, limit_for, novelty, to_bytes
from skinxai.trust.novelty_gate import REJECTED

ROOT = Path(__file__).parent
sys.path.append(str(ROOT.parent / "training"))

from frozen_split import frozen_split, without_copies  # noqa: E402

FOLDS, SEED = 5, 7
Array = np.ndarray


class Seen(NamedTuple):
    """Embeddings, colours, and of dermoscopy the labels."""

    embeddings: Array
    colours: Array
    labels: Array

    def of(self, rows: Array) -> "Seen":
        return Seen(*(each[rows] for each in self))


Method = Callable[[Seen, Seen], Array]


def described(model: Classifier, paths: list[Path], labels: Array, cache: Path) -> Seen:
    if not cache.exists():
        np.save(cache, model.embed(paths))
    colour_file = cache.with_name(f"{cache.stem}-colours.npy")
    if not colour_file.exists():
        np.save(colour_file, np.stack([colours(read_image(path).pixels) for path in paths]))
    return Seen(np.load(cache), np.load(colour_file), labels)


def mahalanobis(known: Seen, asked: Seen, shrinkage: float = 0.5, kind: str = "class") -> Array:
    """Lee et al., 2018, with all axes and the length of embeddings as it is."""
    labels = known.labels if kind == "class" else np.zeros_like(known.labels)
    wide = known.embeddings.shape[1]
    fitted = Gaussians.fit(known.embeddings, labels, dimensions=wide, shrinkage=shrinkage)
    return fitted.distance(asked.embeddings)


def unit(seen: Seen) -> Seen:
    length = np.linalg.norm(seen.embeddings, axis=1, keepdims=True)
    return seen._replace(embeddings=seen.embeddings / length)


def shipped(known: Seen, asked: Seen, colour: bool = True, **options: float) -> Array:
    reference = Reference.fit(
        known.embeddings, known.labels, known.colours if colour else None, **options
    )
    return reference.distance(asked.embeddings, asked.colours if colour else None)


def relative(known: Seen, asked: Seen) -> Array:
    """Ren et al., 2021: less the distance to one Gaussian of all classes."""
    return mahalanobis(known, asked) ** 2 - mahalanobis(known, asked, kind="all") ** 2


def colours_alone(known: Seen, asked: Seen) -> Array:
    fitted = Gaussians.fit(known.colours, 0 * known.labels, dimensions=12, shrinkage=0.01)
    return fitted.distance(asked.colours)


def nearest(known: Seen, asked: Seen, k: int) -> Array:
    """Sun et al., 2022: distance to the k-th nearest embedding of length 1."""
    fitted = NearestNeighbors(n_neighbors=k).fit(unit(known).embeddings)
    return fitted.kneighbors(unit(asked).embeddings)[0][:, -1]


def methods(weight: Array, bias: Array) -> dict[str, Method]:
    def logits(asked: Seen) -> Array:
        return asked.embeddings @ weight.T + bias

    named: dict[str, Method] = {
        "top probability": lambda known, asked: -softmax(logits(asked), axis=1).max(axis=1),
        "energy (Liu 2020)": lambda known, asked: -logsumexp(logits(asked), axis=1),
        "relative Mahalanobis (Ren 2021)": relative,
        "Mahalanobis (Lee 2018), shrinkage 0.1": partial(mahalanobis, shrinkage=0.1),
        "Mahalanobis (Lee 2018), shrinkage 0.5": mahalanobis,
        "colours alone": colours_alone,
        "length 1 and colours (shipped)": shipped,
    }
    for k in (1, 10, 50):
        named[f"nearest {k} (Sun 2022)"] = partial(nearest, k=k)
    for shrinkage in (0.1, 0.3, 0.5, 0.7, 0.9):
        for colour in (False, True):
            name = f"length 1{' and colours' * colour}, shrinkage {shrinkage}"
            named[name] = partial(shipped, colour=colour, shrinkage=shrinkage)
    for axes in (16, 32, 128, 256):
        named[f"length 1 and colours, {axes} axes"] = partial(shipped, axes=axes)
    return named


def told_apart(known: Array, novel: Array) -> dict[str, float]:
    """AUROC, and the share of dermoscopy above the distance that 95% of the novel exceed."""
    truth = np.repeat([0, 1], [len(known), len(novel)])
    threshold = np.quantile(novel, 0.05, method="lower")
    return {
        "auroc": round(float(roc_auc_score(truth, np.concatenate([known, novel]))), 4),
        "false positives at 95% detection": round(float((known >= threshold).mean()), 4),
    }


def interval(count: int, of: int) -> list[float]:
    """Clopper and Pearson's, 95%."""
    low = beta.ppf(0.025, count, of - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, of - count) if count < of else 1.0
    return [round(float(low), 4), round(float(high), 4)]


def share(count: int, of: int) -> dict[str, object]:
    return {"count": int(count), "of": of, "share": round(count / of, 4),
            "interval": interval(int(count), of)}  # fmt: skip


def held_out(method: Method, known: Seen, lesions: list[str]) -> Array:
    order = {lesion: place for place, lesion in enumerate(dict.fromkeys(lesions))}
    fold = np.array([order[lesion] % FOLDS for lesion in lesions])
    found = np.empty(len(fold))
    for each in range(FOLDS):
        out = fold == each
        found[out] = method(known.of(~out), known.of(out))
    return found


def judged(known: Array, far: Array, limit: float, kinds: Array) -> dict:
    """What the shipped reference does with the test images and pictures, by kind."""
    by_kind = {}
    for kind in sorted(set(kinds)):
        of_kind = far[kinds == kind]
        by_kind[kind] = told_apart(known, of_kind) | {
            "refused": share(int((of_kind > limit).sum()), len(of_kind))
        }
    return told_apart(known, far) | {
        "limit": round(limit, 4),
        "pictures refused": share(int((far > limit).sum()), len(far)),
        "test images refused": share(int((known > limit).sum()), len(known)),
        "score of a test image, median": round(float(np.median(novelty(known, limit))), 3),
        "score of a picture, median": round(float(np.median(novelty(far, limit))), 3),
        "by kind": by_kind,
    }


def smaller(val: Seen, lesions: list[str], test: Seen, novel: Seen) -> list[dict]:
    """References of fewer validation images: the limit is theirs too."""
    rows = []
    draws = np.random.default_rng(SEED)
    for count, rejected in (
        (20, 0.05),
        (50, 0.02),
        (100, REJECTED),
        (200, REJECTED),
        (500, REJECTED),
    ):
        taken = draws.permutation(len(lesions))[:count]
        few, theirs = val.of(taken), [lesions[k] for k in taken]
        limit = limit_for(
            held_out_distances(few.embeddings, few.labels, theirs, few.colours), rejected
        )
        near, far = shipped(few, test), shipped(few, novel)
        rows.append({"images": count, "rejected": rejected, **told_apart(near, far),
                     "test images refused": round(float((near > limit).mean()), 4),
                     "pictures refused": round(float((far > limit).mean()), 4)})  # fmt: skip
    return rows


def sheet(paths: list[Path], file: Path, columns: int = 12, side: int = 160) -> None:
    whole = Image.new("RGB", (columns * side, -(-len(paths) // columns) * side), "gray")
    for place, path in enumerate(paths):
        with Image.open(path) as image:
            small = image.convert("RGB")
            small.thumbnail((side, side))
        whole.paste(small, (place % columns * side, place // columns * side))
    whole.save(file)


def main() -> None:
    ham, folder = Path(sys.argv[1]), Path(sys.argv[2]).resolve()
    rows = list(csv.DictReader(novelty_pictures.LIST.open()))
    if not all((folder / row["picture"]).exists() for row in rows):
        novelty_pictures.make(folder)
        rows = list(csv.DictReader(novelty_pictures.LIST.open()))
    model = Classifier.from_pretrained()
    splits = frozen_split(ham)
    known_part, asked_part = without_copies(splits.val), without_copies(splits.test)
    cache = folder / f"embeddings-{model.model.split('@')[1][:12]}"
    cache.mkdir(exist_ok=True)
    val_paths, test_paths = ([each.path for each in part] for part in (known_part, asked_part))
    lesions = [each.lesion_id for each in known_part]
    val = described(model, val_paths, np.array(known_part.targets()), cache / "val.npy")
    test = described(model, test_paths, np.empty(len(test_paths)), cache / "test.npy")
    pictures = [folder / row["picture"] for row in rows]
    novel = described(model, pictures, np.empty(len(rows)), cache / "pictures.npy")
    kinds = np.array([row["kind"] for row in rows])
    choose = np.array([row["half"] == "choose" for row in rows])
    head = model.torch_predictor.members[0].network.network.classifier
    weight, bias = (each.detach().numpy() for each in (head.weight, head.bias))

    compared = {}
    for name, method in methods(weight, bias).items():
        compared[name] = told_apart(held_out(method, val, lesions), method(val, novel.of(choose)))
        print(f"{name:40} {compared[name]}", flush=True)
    reference = Reference.fit(val.embeddings, val.labels, val.colours)
    distances = held_out_distances(val.embeddings, val.labels, lesions, val.colours)
    limit = limit_for(distances, REJECTED)
    refused = distances > limit
    known, far = (reference.distance(each.embeddings, each.colours) for each in (test, novel))
    result = {
        "model": model.model, "reference": "validation images", "images": len(lesions),
        "pictures": {"choose": int(choose.sum()), "judge": int((~choose).sum())},
        "rejected": REJECTED, "bytes": len(to_bytes([reference])),
        "chosen with held-out validation images": compared,
        "held-out validation images refused": {
            code: share(int(refused[val.labels == k].sum()), int((val.labels == k).sum()))
            for k, code in enumerate(model.labels)
        },
        "judged with test images": judged(known, far[~choose], limit, kinds[~choose]),
        "fewer validation images": smaller(val, lesions, test, novel.of(~choose)),
    }  # fmt: skip
    print(json.dumps(result["judged with test images"], indent=1))
    print(json.dumps(result["fewer validation images"], indent=1))
    (ROOT / "results/novelty.json").write_text(json.dumps(result, indent=1) + "\n")

    missed = [pictures[k] for k in np.argsort(far)[:36]]
    refused = [test_paths[k] for k in np.argsort(-known)[:36]]
    sheet(missed + refused, folder / "worst.png")


if __name__ == "__main__":
    main()
