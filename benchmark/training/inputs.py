"""What a run works with, made once and handed on: ``inputs = Inputs.of(config, Store.open(path))``."""

from dataclasses import dataclass

from benchmark.config.run_config import RunConfig
from benchmark.training.seen_cases import check_start
from datasets.batches.split import Split, split
from datasets.missingness.availability import Availability, store_availability
from datasets.store.store import Store

SPLIT_SEED = 1037
"""Of every run's split, whatever its own seed: so that results can be paired by case."""


@dataclass(frozen=True)
class Inputs:
    """The data of a run.

    Attributes:
        config: the run.
        store: the prepared study.
        split: who trains, validates and tests.
        table: who lacks what among the training cases: the run's profile, within what exists on disk.
    """

    config: RunConfig
    store: Store
    split: Split
    table: Availability

    @classmethod
    def of(cls, config: RunConfig, store: Store) -> "Inputs":
        """Divide the cases of a store and draw the run's table; raise `InputError` where that cannot be."""
        parts = run_split(config, store)
        check_start(config.train.init, store, parts)
        table = store_availability(config.profile, store, parts.train, config.table_seed)
        return cls(config, store, parts, table)


def run_split(config: RunConfig, store: Store) -> Split:
    """Training, validation and test cases of a run on a store."""
    return split(store.cases, store.description, config.split, SPLIT_SEED)
