"""The options of ``skinxai predict`` for a manifest of many images, and what they do."""

import os
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from skinxai.cli.options import separator
from skinxai.cli.saying import note, with_group
from skinxai.plain_text import counted


class Engine(StrEnum):
    """What runs the chunks of a manifest."""

    plain = "plain"
    ray = "ray"


_OPTIONS: dict[str, Any] = {
    "manifest": Annotated[
        Path | None, typer.Option(help="Table of images, CSV or Parquet, in the place of IMAGES.")
    ],
    "shard": Annotated[
        str | None,
        typer.Option(help="NUMBER/COUNT: which share of --manifest [the launcher's, or 0/1]."),
    ],
    "shards": Annotated[
        int | None, typer.Option(help="How many shards, where the launcher does not tell.")
    ],
    "chunk": Annotated[int | None, typer.Option(help="Rows of --manifest in a part [1024].")],
    "image_column": Annotated[
        str | None, typer.Option(help="Column of --manifest with the image's file [image].")
    ],
    "id_column": Annotated[
        str | None, typer.Option(help="Column of --manifest with an id to keep [id].")
    ],
    "delimiter": Annotated[
        str | None,
        typer.Option(help="Separator of the cells of --manifest [,].", callback=separator),
    ],
    "engine": Annotated[
        Engine | None, typer.Option(help="What runs the chunks of --manifest [plain].")
    ],
    "actors": Annotated[
        int | None, typer.Option(help="Processes of --engine ray [one for each core].")
    ],
}


@dataclass(frozen=True)
class ManifestOptions:
    """The options as they were given; ``None`` where they were not."""

    manifest: Path | None = None
    shard: str | None = None
    shards: int | None = None
    chunk: int | None = None
    image_column: str | None = None
    id_column: str | None = None
    delimiter: str | None = None
    engine: Engine | None = None
    actors: int | None = None

    def check(self, images: list[str], out: Path | None, others: dict[str, bool]) -> None:
        """Refuse images beside a manifest, options of the one with the other, and neither.

        Args:
            images: that were given.
            out: the folder.
            others: option that does not go with a manifest → whether it was given.
        """
        if self.manifest is None:
            for each in fields(self):
                if getattr(self, each.name) is not None:
                    raise typer.BadParameter(
                        f"--{each.name.replace('_', '-')} goes with --manifest."
                    )
            if not images:
                raise typer.BadParameter("Give IMAGES, or a table of them with --manifest.")
            return
        if images:
            raise typer.BadParameter("IMAGES and --manifest exclude each other; give one of them.")
        if out is None:
            raise typer.BadParameter("--manifest needs --out FOLDER for the parts.")
        for option, given in others.items():
            if given:
                raise typer.BadParameter(f"{option} does not go with --manifest.")
        if self.engine is Engine.ray and (self.shard or self.shards):
            raise typer.BadParameter("--engine ray shares all chunks itself; leave --shard out.")
        if self.engine is not Engine.ray and self.actors is not None:
            raise typer.BadParameter("--actors goes with --engine ray.")

    def words(self, others: dict[str, str | None]) -> list[str]:
        """The options, but for manifest and shard, as they are typed."""
        own = {"--chunk": self.chunk, "--image-column": self.image_column,
               "--id-column": self.id_column, "--delimiter": self.delimiter}  # fmt: skip
        pairs = {name: value for name, value in (own | others).items() if value is not None}
        return [word for name, value in pairs.items() for word in (name, str(value)) if word]

    def run(self, model: str | None, backend: str | None, out: Path, given: dict[str, Any]) -> Any:
        """Answer the manifest, and say what was done."""
        from skinxai.classifier import Classifier
        from skinxai.manifests.manifest import CHUNK
        from skinxai.manifests.sharded_run import begin, work

        assert self.manifest is not None
        shard, origin = self._shard()
        columns = {"image": self.image_column, "id": self.id_column}
        words = self.words(
            {"--model": model, "--backend": backend, "--batch-size": given["batch_size"],
             "--max-pixels": given["max_pixels"], "--operating-point": given["operating_point"],
             "--tta": "" if given["tta"] else None}
        )  # fmt: skip
        classifier = Classifier.from_pretrained(model, backend=backend)
        begun = begin(
            classifier, self.manifest, out, chunk=CHUNK if self.chunk is None else self.chunk,
            columns={role: name for role, name in columns.items() if name is not None},
            delimiter="," if self.delimiter is None else self.delimiter, words=words, **given,
        )  # fmt: skip
        if self.engine is Engine.ray:
            from skinxai.manifests.ray_data import work_with_ray

            report = work_with_ray(begun, classifier, self.actors)
        else:
            note(f"shard {shard}, numbered from 0, {origin}")
            report = work(begun, classifier, shard)
        note(
            f"{report.rows - report.failed} of {counted(report.rows, 'image')} answered, "
            f"{counted(report.chunks, 'part')} in {out}, {report.skipped} of them finished before"
        )
        return report

    def _shard(self) -> tuple[Any, str]:
        """The shard, and what says so."""
        from skinxai.manifests.sharding import Shard, shard_from_environment

        if self.shard is not None:
            asked = Shard.parse(self.shard)
            if self.shards not in (None, asked.of):
                raise typer.BadParameter(f"--shards {self.shards} contradicts --shard {asked}.")
            return asked, "from --shard"
        if self.engine is Engine.ray:
            return Shard(0, 1), ""
        found = shard_from_environment(os.environ, self.shards)
        if found is not None:
            return found[0], f"from {found[1]}"
        if self.shards is not None and self.shards != 1:
            raise typer.BadParameter(
                "--shards needs a launcher that numbers its processes; give --shard NUMBER/COUNT."
            )
        return Shard(0, 1), "which is the whole manifest"


NO_MANIFEST = ManifestOptions()
"""Of a command that was given none of these options."""


with_manifest = with_group(_OPTIONS, ManifestOptions)
