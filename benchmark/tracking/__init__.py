"""A run's mirror in Weights & Biases; the local files stay the truth.

    with tracking.start(folder, config) as tracker:     # config: the content of config.yaml
        tracker.log_epoch(line)                         # a line of log.jsonl, earlier starts' lines first
                                                        # at the end: whatever the folder holds of results

W&B's own variables steer it: WANDB_MODE, WANDB_BASE_URL, WANDB_API_KEY, WANDB_ENTITY, WANDB_PROJECT, and
WANDB_LOG_MODEL=end for the weights. Whatever goes wrong costs one warning and at most ten seconds, never the
run; what did not reach the server is uploaded later by `benchmark.tracking.sync`.
"""

from benchmark.tracking.tracker import Tracker, start

__all__ = ["Tracker", "start"]
