"""Ray Data: one local cluster for all that is shown of it."""

import os
import signal
import sys
from pathlib import Path

import pytest

from skinxai import Classifier, samples
from skinxai.errors import OptionError
from skinxai.interruption import handlers_kept
from skinxai.manifests import predict_manifest

os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  (at 15 they starve on a busy machine)
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*"))}


@pytest.mark.filterwarnings("ignore")
def test_ray_makes_the_same_parts_and_goes_on_where_others_stopped(tmp_path) -> None:
    import torch

    from skinxai.manifests.ray_data import predict_manifest_with_ray

    ray = pytest.importorskip("ray", reason="ray is not installed.")
    for path in samples.paths():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    names = [path.name for path in samples.paths()]
    table = tmp_path / "m.csv"
    table.write_text("image\n" + "\n".join([*names, "missing.jpg", *names]))
    classifier, threads = Classifier.from_pretrained(), torch.get_num_threads()
    torch.set_num_threads(1)  # as Ray's actors have, with one core each
    try:
        predict_manifest(classifier, table, tmp_path / "plain", chunk=2)
    finally:
        torch.set_num_threads(threads)
    expected = parts(tmp_path / "plain")
    with handlers_kept():
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        told = []
        found = predict_manifest_with_ray(
            classifier, table, tmp_path / "ray", actors=2, chunk=2,
            progress=lambda done, total: told.append((done, total)),
        )  # fmt: skip
        assert (found.rows, found.failed, found.chunks, found.skipped) == (9, 1, 5, 0)
        assert told[-1] == (9, 9) and parts(tmp_path / "ray") == expected
    finally:
        ray.shutdown()
    for name in list(expected)[1:3]:
        (tmp_path / "plain" / name).unlink()
    before, handlers = signal.getsignal(signal.SIGTERM), set()
    again = predict_manifest_with_ray(  # by a cluster that it starts and ends itself
        classifier, table, tmp_path / "plain", chunk=2,
        progress=lambda done, total: handlers.add(signal.getsignal(signal.SIGTERM)),
    )  # fmt: skip
    assert (again.failed, again.skipped) == (1, 3) and parts(tmp_path / "plain") == expected
    assert not ray.is_initialized()
    assert handlers == {before} == {signal.getsignal(signal.SIGTERM)}


def test_ray_that_is_not_there_and_a_cluster_that_cannot_be_reached(tmp_path, monkeypatch) -> None:
    from skinxai.manifests.ray_data import predict_manifest_with_ray

    ray = pytest.importorskip("ray", reason="ray is not installed.")

    def unreachable(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nMore lines.")

    table = tmp_path / "m.csv"
    table.write_text(f"image\n{samples.paths()[0]}")
    classifier = Classifier.from_pretrained()
    monkeypatch.setenv("RAY_ADDRESS", "nowhere:6379")
    monkeypatch.setattr(ray, "init", unreachable)
    with pytest.raises(OptionError) as caught:
        predict_manifest_with_ray(classifier, table, tmp_path / "out")
    assert str(caught.value) == (
        "the Ray cluster 'nowhere:6379' cannot be reached: Could not find any running Ray "
        "instance.; set RAY_ADDRESS, or unset it to start one here."
    )
    with pytest.raises(OptionError, match="actors must be"):
        predict_manifest_with_ray(classifier, table, tmp_path / "out", actors=0)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OptionError, match=r'pip install "skinxai\[ray,parquet\]"'):
        predict_manifest_with_ray(classifier, table, tmp_path / "new")
    assert not (tmp_path / "new").exists()
