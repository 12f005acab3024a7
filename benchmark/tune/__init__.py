"""`bench tune`: Optuna studies over the options of a run. A worker is `python -m benchmark.tune.worker`."""
