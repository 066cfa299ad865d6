"""List pairs of HAM10000 images that show the same skin under different lesion ids.

Candidates are each image's 15 nearest neighbours by the pooled features of a network trained on
ImageNet, and by grey values at 32×32 under the four flips. A pair is confirmed by SIFT keypoints
(Lowe, 2004) that agree on one similarity transform (RANSAC): at least MIN_INLIERS of them, over
at least MIN_SPREAD of both images' width; or by grey values at 32×32 that correlate by
MIN_CORRELATION, since smooth lesions have few keypoints.
Writes the confirmed pairs, most inliers first::

    python training/find_near_duplicates.py HAM10000_FOLDER WEIGHTS.safetensors PAIRS.csv
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import safetensors.torch
import timm
import torch
from PIL import Image
from tqdm import tqdm

NEIGHBOURS = 15
MIN_INLIERS = 7
MIN_SPREAD = 0.15
MIN_CORRELATION = 0.98


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def embed(images: list[np.ndarray], weights: Path) -> np.ndarray:
    network = timm.create_model("tf_efficientnet_lite0")
    network.load_state_dict(safetensors.torch.load_file(weights))
    network.eval().to(memory_format=torch.channels_last)
    rows = []
    with torch.inference_mode():
        for start in tqdm(range(0, len(images), 64), desc="embed"):
            small = [
                cv2.resize(i, (160, 128), interpolation=cv2.INTER_AREA)
                for i in images[start : start + 64]
            ]
            batch = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1
            rows.append(network.forward_head(network.forward_features(batch), pre_logits=True))
    return torch.nn.functional.normalize(torch.cat(rows)).numpy()


def thumbnails(images: list[np.ndarray], flip: tuple[slice, slice]) -> np.ndarray:
    rows = []
    for image in images:
        grey = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).mean(axis=2)
        detail = (grey - cv2.blur(grey, (9, 9)))[flip].ravel()
        detail -= detail.mean()
        rows.append(detail / (np.linalg.norm(detail) + 1e-6))
    return np.stack(rows).astype(np.float32)


def nearest(queries: np.ndarray, rows: np.ndarray, lesions: np.ndarray) -> set[tuple[int, int]]:
    pairs = set()
    for start in range(0, len(queries), 1000):
        similarity = queries[start : start + 1000] @ rows.T
        similarity[lesions[start : start + 1000, None] == lesions[None]] = -2
        best = np.argpartition(-similarity, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        for row, columns in enumerate(best, start):
            pairs.update((min(row, int(c)), max(row, int(c))) for c in columns)
    return pairs


def confirmed(
    images: list[np.ndarray], pairs: set[tuple[int, int]], upright: np.ndarray
) -> Iterator[tuple[int, int, int]]:
    sift, matcher = cv2.SIFT_create(nfeatures=300), cv2.BFMatcher()
    features = [
        sift.detectAndCompute(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY), None)
        for i in tqdm(images, desc="keypoints")
    ]
    for a, b in tqdm(sorted(pairs), desc="match"):
        (points_a, rows_a), (points_b, rows_b) = features[a], features[b]
        if upright[a] @ upright[b] >= MIN_CORRELATION:
            yield a, b, 0
            continue
        if rows_a is None or rows_b is None or min(len(rows_a), len(rows_b)) < MIN_INLIERS:
            continue
        matches = [
            m
            for m, *rest in matcher.knnMatch(rows_a, rows_b, k=2)
            if rest and m.distance < 0.75 * rest[0].distance
        ]
        if len(matches) < MIN_INLIERS:
            continue
        from_a = np.float32([points_a[m.queryIdx].pt for m in matches])
        from_b = np.float32([points_b[m.trainIdx].pt for m in matches])
        _, inside = cv2.estimateAffinePartial2D(from_a, from_b, ransacReprojThreshold=4.0)
        if inside is None:
            continue
        inside = inside.ravel().astype(bool)
        count = len(np.unique(from_a[inside].round(), axis=0))
        spread = (
            min(
                np.ptp(points[inside], axis=0).max() / images[0].shape[1]
                for points in (from_a, from_b)
            )
            if count
            else 0
        )
        if count >= MIN_INLIERS and spread >= MIN_SPREAD:
            yield a, b, count


def main(root: Path, weights: Path, out: Path) -> None:
    files = {p.stem: p for p in sorted(root.glob("HAM10000_images_part_*/*.jpg"))}
    with (root / "HAM10000_metadata.csv").open() as lines:
        rows = sorted(csv.DictReader(lines), key=lambda row: row["image_id"])
    images = [read(files[row["image_id"]]) for row in tqdm(rows, desc="read")]
    lesions = np.unique([row["lesion_id"] for row in rows], return_inverse=True)[1]
    embedded = embed(images, weights)
    pairs = nearest(embedded, embedded, lesions)
    upright = thumbnails(images, (slice(None), slice(None)))
    for flip in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        turned = thumbnails(images, (slice(None, None, flip[0]), slice(None, None, flip[1])))
        pairs |= nearest(upright, turned, lesions)
    print(f"{len(pairs)} candidate pairs")
    found = sorted(confirmed(images, pairs, upright), key=lambda pair: -pair[2])
    with out.open("w", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(["image_id", "other_image_id", "inliers"])
        writer.writerows((rows[a]["image_id"], rows[b]["image_id"], n) for a, b, n in found)
    print(f"{len(found)} pairs written to {out}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
