"""Frozen features, a linear probe and nearest neighbours: the quickest way to use few images."""

from skinxai.probing.linear_probe import probe
from skinxai.probing.probed import Candidate, Probed

__all__ = ["Candidate", "Probed", "probe"]
