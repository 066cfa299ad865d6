"""Millions of images: a table of them, answered in chunks by many processes, and collected."""

from skinxai.manifests.collecting import Collected, collect
from skinxai.manifests.sharded_run import ShardReport, predict_manifest
from skinxai.manifests.sharding import Shard, shard_from_environment

__all__ = [
    "Collected",
    "Shard",
    "ShardReport",
    "collect",
    "predict_manifest",
    "shard_from_environment",
]
