"""What a run works with, made once and handed on: ``inputs = Inputs.of(config, Store.open(path))``."""

from dataclasses import dataclass
from functools import cached_property

from bench_errors import InputError
from benchmark.config.run_config import RunConfig
from benchmark.training.seen_cases import check_start
from datasets.batches.split import Split, split
from datasets.missingness.availability import Availability, store_availability
from datasets.store.store import Store
from datasets.vocabulary import Subset

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
        inputs = cls(config, store, parts, table)
        if not inputs.shown.cases:
            raise InputError(
                f"no training case has {config.train.subset} under profile {config.profile}: leave this "
                "subset out, or take another profile or split"
            )
        if not inputs.tested:
            raise InputError(f"no test case has {config.train.subset}: leave this subset out")
        return inputs

    @property
    def subset(self) -> Subset | None:
        """The subset that the network is dedicated to; None: it is for all."""
        return self.config.subset(self.store.description.modalities)

    @cached_property
    def shown(self) -> Availability:
        """The training cases and what is shown of them: of a dedicated network, those with its subset."""
        return self.table.showing(self.subset) if self.subset else self.table

    @property
    def tested(self) -> tuple[str, ...]:
        """The test cases: of a dedicated network, those with its subset."""
        return self.store.having(self.split.test, self.subset)


def run_split(config: RunConfig, store: Store) -> Split:
    """Training, validation and test cases of a run on a store."""
    return split(store.cases, store.description, config.split, SPLIT_SEED)
