"""Records of before edition 2, read as those of today: ``current_layout(recorded["config"])``.

Then the test's settings held `select` and `validate_every`, which belong to the training, and the rules of
its metrics were called `metrics`. Of all editions, a record says `table_seed` only where it is not the usual.
"""

from typing import Any

from datasets.missingness.quotas import RELEASED_SEED


def current_layout(config: dict[str, Any]) -> dict[str, Any]:
    """Return a recorded configuration in the layout of today; one of today stays as it is."""
    test, train = dict(config.get("test", {})), dict(config.get("train", {}))
    train |= {key: test.pop(key) for key in ("select", "validate_every") if key in test}
    if isinstance(test.get("metrics"), str):
        test["policy"] = test.pop("metrics")
    return {"table_seed": RELEASED_SEED, **config, "train": train, "test": test}
