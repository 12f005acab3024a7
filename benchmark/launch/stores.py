"""The stores that a grid's runs read: ``find_stores(grid, Path("runs"), {}, console)``.

A store is named by the user, made here (a phantom study of the grid), or lies at `data/NAME`.
"""

import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console

from bench_errors import InputError
from bench_lease import hold_in_turn
from benchmark.config.grid import Grid
from datasets.preparation.prepare import VERSION, prepare
from datasets.store.store import FORMAT, Store
from datasets.studies.names import DATASETS, prepare_command
from datasets.vocabulary import Description


def check_store_names(grid: Grid, stores: dict[str, Path]) -> None:
    """Raise `InputError` for a store of a dataset that no run of the grid uses."""
    for name in stores:
        if name not in grid.datasets:
            raise InputError(
                f"--store {name}=...: grid {grid.name} has no dataset {name}, only {', '.join(grid.datasets)}"
            )


def find_stores(grid: Grid, runs: Path, stores: dict[str, Path], console: Console) -> dict[str, Path]:
    """Return the grid's stores by dataset name and make its phantom studies.

    Raises `InputError` where a store is missing or not of its dataset, or `stores` names one that the grid
    does not use.
    """
    check_store_names(grid, stores)
    located = {}
    for name in grid.datasets:
        if name in stores:
            located[name] = stores[name]
        elif name in grid.data:
            located[name] = phantom_store(name, grid.data[name], runs / grid.name / "data", console)
        else:
            located[name] = Path("data") / name
        if not (located[name] / "store.json").exists():
            raise InputError(
                f"no store of {name} at {located[name]}: name another with --store {name}=DIR, or make one "
                f"with: {prepare_command(name, located[name], grid=grid.datasets[name].grid)}"
            )
        _check_description(located[name], grid.datasets[name])
    return located


def _check_description(path: Path, wanted: Description) -> None:
    """A store has to be of the grid's dataset; how its files lay, and were resampled, matters no more."""
    prepared = Store.open(path).description
    for key in (field.name for field in fields(wanted)):
        found, expected = getattr(prepared, key), getattr(wanted, key)
        if key not in ("layouts", "channels", "case_names", "grid") and found != expected:
            raise InputError(
                f"the store {path} was prepared with the {key} {found}, dataset {wanted.name} has "
                f"{expected}: prepare it again, or name another with --store {wanted.name}=DIR"
            )


def phantom_store(name: str, options: dict[str, Any], folder: Path, console: Console) -> Path:
    """Make and prepare the phantom study of a grid, unless it is there already; return its store.

    Of several callers one makes it and the others wait. Raises `InputError` where it cannot be written.
    """
    store = folder / name
    wanted = json.dumps({**options, "store": [FORMAT, VERSION]}, sort_keys=True)
    if _is_made(store, wanted):
        return store
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with hold_in_turn(folder / f"{name}.maker"):
            if not _is_made(store, wanted):
                console.print(
                    f"making the phantom study {name}: {options.get('cases', 40)} cases", soft_wrap=True
                )
                _make_phantom_store(store, options)
                _recipe(store).write_text(wanted)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror}): choose another place with --runs"
        ) from None
    Store.open(store)
    return store


def _make_phantom_store(store: Path, options: dict[str, Any]) -> None:
    from datasets.phantom.study import study_size, write_study

    files = store.with_name(f"{store.name}-nifti")
    try:
        shutil.rmtree(files, ignore_errors=True)
        write_study(
            files,
            options.get("cases", 40),
            study_size(str(options.get("size", 64))),
            options.get("seed", 0),
            options.get("layout", "brats"),
        )
        prepare(files, DATASETS.get(store.name), store)
    finally:
        shutil.rmtree(files, ignore_errors=True)


def _recipe(store: Path) -> Path:
    return store.with_name(f"{store.name}.json")


def _is_made(store: Path, wanted: str) -> bool:
    """Whether a phantom study's store is there and was made by the wanted recipe."""
    recipe = _recipe(store)
    return recipe.exists() and recipe.read_text() == wanted and (store / "store.json").exists()
