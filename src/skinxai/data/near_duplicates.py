"""Pairs of images that show the same skin: identical, turned, resized, re-encoded or cropped.

Every image is compared with every other by its texture at 32×32, in eight orientations and in a
grid of crops, and by its strongest keypoints, which also find other photographs of the same place.
From `MANY` images on, trees find the images that are worth a comparison (`alike_index`).
The most similar pairs are then confirmed at 64×64, or by keypoints that agree on one similarity
transform.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np

from skinxai.data.alike_index import Candidates, partners, voted
from skinxai.data.claims import ordered
from skinxai.data.point_forest import Progress
from skinxai.data.textures import (
    MIN_ALIKE,
    THUMB,
    Floats,
    Pixels,
    crop_similarity,
    details,
    resized,
    views,
)
from skinxai.images.pixels import pixel_hash

PARTNERS, ALL_PAIRS = 5, 20
MANY = 20_000
ROWS, COLUMNS = 100, 10_000
"""Images that are compared at once: memory grows with the number of images, not its square."""
WHOLE_IS_SAME = 0.96
CROP_IS_SAME = 0.80
MIN_VOTES, MAX_DISTANCE, VOTING = 3, 250.0, 60
MIN_INLIERS = 8
CONFIRMED = 64
"""Candidates that a thread takes at once."""
MIN_SPREAD = 0.15
KEYPOINTS, KEYPOINT_SIDE = 300, 320


@dataclass(frozen=True)
class Pair:
    """Two images that show the same skin.

    Args:
        first: position of the image that comes first.
        second: position of the other.
        kind: ``"identical"`` (the same pixels, perhaps turned or flipped) or ``"near"``.
        similarity: correlation of details in the best orientation or crop, −1 to 1.
        keypoints: number of keypoints that agree on one similarity transform.
    """

    first: int
    second: int
    kind: str
    similarity: float
    keypoints: int


@dataclass(frozen=True)
class Fingerprint:
    """What an image is compared by; about 40 kB.

    Args:
        digest: `pixel_hash` of the image.
        thumb: grey uint8 ``(64, 64)`` of the whole image.
        points: float32 ``(n, 2)``, places of SIFT keypoints (Lowe, 2004) as shares of the
            longer side, strongest first.
        descriptors: uint8 ``(n, 128)``, the descriptors of the keypoints.
    """

    digest: str
    thumb: Pixels
    points: Floats
    descriptors: Pixels


def fingerprint(pixels: Pixels) -> Fingerprint:
    """Compute the fingerprint of RGB uint8 ``(H, W, 3)``."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, KEYPOINT_SIDE / max(grey.shape))
    size = tuple(max(1, round(side * scale)) for side in grey.shape[::-1])
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    keypoints, rows = cv2.SIFT.create(nfeatures=KEYPOINTS).detectAndCompute(small, None)
    order = np.argsort([-keypoint.response for keypoint in keypoints], kind="stable")
    places = np.array([keypoints[place].pt for place in order], np.float32).reshape(-1, 2)
    return Fingerprint(
        pixel_hash(pixels),
        resized(grey, THUMB),
        places / max(small.shape),
        np.empty((0, 128), np.uint8) if rows is None else rows[order].astype(np.uint8),
    )


def find_pairs(
    prints: Sequence[Fingerprint],
    groups: Sequence[str],
    *,
    progress: Progress = lambda loop, name, total: loop,
) -> tuple[Pair, ...]:
    """Find all pairs of different groups, such as lesions, that show the same skin, surest first.

    ``progress`` wraps the long loops, e.g. in a bar: ``(loop, name, length) -> loop``.
    """
    found = {
        pair: Pair(*pair, "identical", 1.0, 0)
        for pair in _identical([p.digest for p in prints], groups)
    }
    search = _from_trees if len(prints) >= MANY else _from_all
    candidates = search(prints, groups, progress)

    def confirm(start: int) -> list[Pair]:
        some = slice(start, start + CONFIRMED)
        each = zip(candidates.pairs[some].tolist(), candidates.whole[some].tolist(), strict=True)
        checked = (_confirmed(prints, a, b, whole) for (a, b), whole in each)
        return [pair for pair in checked if pair is not None]

    starts = range(0, len(candidates.pairs), CONFIRMED)
    confirmed = ordered(confirm, starts, workers=os.cpu_count() or 1)
    for pairs in progress(confirmed, "confirm", len(starts)):
        for pair in pairs:
            found.setdefault((pair.first, pair.second), pair)
    order = sorted(found.values(), key=lambda p: (p.kind, -p.keypoints, -p.similarity, p.first))
    return tuple(order)


def _identical(digests: Sequence[str], groups: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs of equal digests; of more than `ALL_PAIRS` images, each with one of another group.

    A thousand black pictures would be half a million pairs. Each is then paired with the first one,
    and those of the first one's group with the first of another group, so that any difference of
    parts or labels within the set shows in one of the pairs.
    """
    places: dict[str, list[int]] = {}
    for place, digest in enumerate(digests):
        places.setdefault(digest, []).append(place)
    for same in places.values():
        first = same[0]
        other = next((place for place in same if groups[place] != groups[first]), None)
        if other is None:
            continue
        if len(same) <= ALL_PAIRS:
            yield from ((a, b) for a, b in combinations(same, 2) if groups[a] != groups[b])
        else:
            pairs = ((first if groups[p] != groups[first] else other, p) for p in same)
            yield from {(min(pair), max(pair)) for pair in pairs}


def _confirmed(prints: Sequence[Fingerprint], a: int, b: int, whole: float) -> Pair | None:
    first, second = prints[a], prints[b]
    crop = max(
        crop_similarity(first.thumb, second.thumb), crop_similarity(second.thumb, first.thumb)
    )
    count = _agreeing_keypoints(first, second)
    sure = whole >= WHOLE_IS_SAME or crop >= CROP_IS_SAME or count >= MIN_INLIERS
    return Pair(a, b, "near", max(whole, crop), count) if sure else None


def _from_all(
    prints: Sequence[Fingerprint], groups: Sequence[str], progress: Progress
) -> Candidates:
    """Candidates from comparisons of all images."""
    found = dict.fromkeys(_voted(prints, groups), -1.0) | _alike(prints, groups, progress)
    return Candidates.of(list(found), list(found.values()))


def _from_trees(
    prints: Sequence[Fingerprint], groups: Sequence[str], progress: Progress
) -> Candidates:
    """The same from trees, whose time grows like n log n; docs/explanation/splits.md: the loss."""
    group = np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int32)
    alike = partners(
        lambda place: prints[place].thumb, group,
        count=PARTNERS, least=MIN_ALIKE, progress=progress,
    )  # fmt: skip
    agreed = voted(
        lambda place: prints[place].descriptors, group, distance=MAX_DISTANCE, progress=progress
    )
    return Candidates.of(
        np.concatenate([alike.pairs, agreed.pairs]), np.concatenate([alike.whole, agreed.whole])
    )


def _alike(
    prints: Sequence[Fingerprint], groups: Sequence[str], progress: Progress
) -> dict[tuple[int, int], float]:
    """The most alike partners of each image, with the similarity of the best orientation."""
    if not prints:
        return {}
    whole = np.stack([details(p.thumb) for p in prints])  # (N, 1024)
    group = np.unique(np.asarray(groups), return_inverse=True)[1]
    found: dict[tuple[int, int], float] = {}
    for start in progress(range(0, len(prints), ROWS), "compare", -(-len(prints) // ROWS)):
        block = prints[start : start + ROWS]
        seen = np.stack([views(p.thumb) for p in block], axis=1)  # (33, n, 1024)
        turned = _best(seen[:8], whole)
        alike = np.maximum(turned, _best(seen[8:], whole))  # (n, N)
        alike[group[start : start + ROWS, None] == group[None]] = -1
        count = min(PARTNERS, alike.shape[1])
        for row, nearest in enumerate(np.argpartition(-alike, count - 1, axis=1)[:, :count]):
            for other in nearest[alike[row, nearest] >= MIN_ALIKE].tolist():
                pair = (min(start + row, other), max(start + row, other))
                found[pair] = max(found.get(pair, -1.0), float(turned[row, other]))
    return found


def _best(views: Floats, whole: Floats) -> Floats:
    """The best similarity ``(n, N)`` of any of the views ``(v, n, 1024)`` with each image."""
    count, rows = views.shape[:2]
    best = np.empty((rows, len(whole)), np.float32)
    for start in range(0, len(whole), COLUMNS):
        some = whole[start : start + COLUMNS]
        found = views.reshape(-1, whole.shape[1]) @ some.T
        found.reshape(count, rows, -1).max(0, out=best[:, start : start + COLUMNS])
    return best


def _voted(prints: Sequence[Fingerprint], groups: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of images with several strong keypoints that are near to each other."""
    rows = [p.descriptors[:VOTING] for p in prints]
    owner = np.repeat(np.arange(len(prints)), [len(each) for each in rows])
    if len(owner) < 2:
        return []
    stacked = np.concatenate(rows).astype(np.float32)
    cv2.setRNGSeed(0)  # the trees are built at random
    index = cv2.FlannBasedMatcher({"algorithm": 1, "trees": 4}, {"checks": 32})
    index.add([stacked])
    votes: Counter[tuple[int, int]] = Counter()
    for start in range(0, len(stacked), 20_000):
        found = index.knnMatch(stacked[start : start + 20_000], k=6)
        for query, matches in enumerate(found, start):
            own = int(owner[query])
            others = {int(owner[m.trainIdx]) for m in matches if m.distance < MAX_DISTANCE}
            votes.update(
                (min(own, other), max(own, other))
                for other in others
                if groups[other] != groups[own]
            )
    return [pair for pair, count in votes.items() if count >= MIN_VOTES]


def _agreeing_keypoints(first: Fingerprint, second: Fingerprint) -> int:
    """How many matches agree on one similarity transform over a fair part of both images."""
    if min(len(first.points), len(second.points)) < MIN_INLIERS:
        return 0
    rows = (first.descriptors.astype(np.float32), second.descriptors.astype(np.float32))
    matches = [
        pair[0]
        for pair in cv2.BFMatcher().knnMatch(*rows, k=2)
        if len(pair) == 2 and pair[0].distance < 0.75 * pair[1].distance
    ]
    if len(matches) < MIN_INLIERS:
        return 0
    from_first = first.points[[match.queryIdx for match in matches]] * KEYPOINT_SIDE
    from_second = second.points[[match.trainIdx for match in matches]] * KEYPOINT_SIDE
    _, inside = cv2.estimateAffinePartial2D(from_first, from_second, ransacReprojThreshold=4.0)
    if inside is None or not inside.any():
        return 0
    kept = inside.ravel().astype(bool)
    spread = min(np.ptp(points[kept], axis=0).max() for points in (from_first, from_second))
    if spread < MIN_SPREAD * KEYPOINT_SIDE:
        return 0
    return len(np.unique(from_first[kept].round(), axis=0))
