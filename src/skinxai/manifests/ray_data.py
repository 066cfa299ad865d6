"""The chunks of a manifest shared among the machines of a Ray cluster, by Ray Data."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skinxai.classifier import Classifier
from skinxai.errors import OptionError
from skinxai.interruption import handlers_kept
from skinxai.manifests.manifest import Chunk
from skinxai.manifests.sharded_run import PartRun, ShardReport, begin
from skinxai.manifests.sharding import Shard
from skinxai.numeric import whole
from skinxai.progress import Progress, counter

BLOCKS = 1000
"""Most blocks of chunks: each is a task of one actor."""


class ChunkMaker:
    """What an actor does: it holds one model, and makes parts."""

    def __init__(self, run: PartRun, classifier: Classifier) -> None:
        self._run, self._classifier = run, classifier

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[int]]:
        """Make the parts of some chunks."""
        numbers = [int(number) for number in batch["chunk"]]
        chunks = [self._run.manifest.chunks[number] for number in numbers]
        return {
            "rows": [chunk.rows for chunk in chunks],
            "failed": [self._run.make(self._classifier, chunk) for chunk in chunks],
        }


def predict_manifest_with_ray(
    classifier: Classifier, manifest: str | os.PathLike[str], out: str | os.PathLike[str], *,
    actors: int | None = None, progress: Progress = None, **options: Any,
) -> ShardReport:  # fmt: skip
    """`predict_manifest` by the actors of a Ray cluster, each with one model.

    The parts are those of `predict_manifest`, and either goes on where the other one stopped. All
    machines must see the manifest, the images and the folder at the same paths.

    Args:
        classifier: the model.
        manifest: as in `predict_manifest`.
        out: as there, absolute or relative to where this program runs.
        actors: how many; one for each core of the cluster by default.
        progress: as in `InputOptions`, of images.
        **options: as in `predict_manifest`.

    Raises:
        OptionError: Ray is not installed, or its cluster cannot be reached.
        SkinxaiError: as in `predict_manifest`.
    """
    _ray()
    run = begin(
        classifier, Path(manifest).absolute(), Path(out).absolute(), progress=progress, **options
    )
    return work_with_ray(run, classifier, actors, progress)


def work_with_ray(
    run: PartRun, classifier: Classifier, actors: int | None = None, progress: Progress = None
) -> ShardReport:
    """Make the parts that are not there yet; see `predict_manifest_with_ray`."""
    ray = _ray()
    if actors is not None:
        actors = whole("actors", actors)
    chunks = run.manifest.chunks
    left, failed = run.left(chunks)
    if left:
        rows = sum(chunk.rows for chunk in left)
        with _cluster(ray), counter(rows, progress, "image") as count:
            for made in _made(ray, run, classifier, left, actors):
                failed += int(made["failed"])
                count(int(made["rows"]))
    return ShardReport(
        run.out, Shard(0, 1), run.manifest.count, failed, len(chunks), len(chunks) - len(left)
    )


def _made(
    ray: Any, run: PartRun, classifier: Classifier, chunks: list[Chunk], actors: int | None
) -> Iterator[Any]:
    size = min(len(chunks), actors or max(1, int(ray.cluster_resources().get("CPU", 1))))
    ray.data.DataContext.get_current().enable_progress_bars = False
    items = [{"chunk": chunk.number} for chunk in chunks]
    numbers = ray.data.from_items(items, override_num_blocks=min(len(items), BLOCKS))
    made = numbers.map_batches(
        ChunkMaker, batch_size=1, compute=ray.data.ActorPoolStrategy(size=size), num_cpus=1,
        fn_constructor_args=(run, classifier),
    )  # fmt: skip
    yield from made.iter_rows()


@contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """A cluster: the one of this program, or of ``RAY_ADDRESS``, or one of this machine alone."""
    if ray.is_initialized():
        yield
        return
    try:
        with handlers_kept():  # Ray sets its own for SIGTERM
            ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise OptionError(
            f"the Ray cluster {os.environ.get('RAY_ADDRESS', 'of this machine')!r} cannot be "
            f"reached: {str(error).splitlines()[0]}; set RAY_ADDRESS, or unset it "
            f"to start one here."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before it is imported
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise OptionError(
            'Ray Data needs the packages ray and pyarrow: pip install "skinxai[ray,parquet]".'
        ) from error
    return ray
