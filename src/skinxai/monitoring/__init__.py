"""Drift: whether the images that come are still like those that the model knows."""

from skinxai.monitoring.drift_report import DriftReport, DriftRow
from skinxai.monitoring.monitor import DriftMonitor
from skinxai.monitoring.timeline import Timeline
from skinxai.results.observation import Observation
from skinxai.trust.reference_sample import ReferenceSample

__all__ = ["DriftMonitor", "DriftReport", "DriftRow", "Observation", "ReferenceSample", "Timeline"]
