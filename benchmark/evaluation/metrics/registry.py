"""The metrics by name: ``METRICS["hd95"].unit``, in the order of the tables."""

from benchmark.evaluation.metrics.comparison import Metric
from benchmark.evaluation.metrics.dice import DICE
from benchmark.evaluation.metrics.ece import ECE
from benchmark.evaluation.metrics.false_positives import FALSE_POSITIVES
from benchmark.evaluation.metrics.hd95 import HD95
from benchmark.evaluation.metrics.nsd import NSD
from benchmark.evaluation.metrics.volume_error import VOLUME_ERROR

METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (DICE, HD95, NSD, VOLUME_ERROR, FALSE_POSITIVES, ECE)
}
