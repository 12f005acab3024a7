"""The stores that a grid's runs read: ``find_stores(grid, Path("runs"), {}, console)``.

A store is named by the user, made here (a phantom study of the grid), or lies at `data/NAME`.
"""

import json
import shutil
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console

from bench_errors import InputError
from bench_lease import hold_in_turn
from benchmark.config.grid import Grid
from benchmark.config.grid_file import PhantomOptions
from benchmark.run_folder.folder import RunFolder
from datasets.preparation.prepare import prepare
from datasets.preparation.prepare_case import VERSION
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

    Raises `InputError` where a store is missing or not of its dataset, `stores` names one that the grid does
    not use, or runs have begun on other data.
    """
    check_store_names(grid, stores)
    check_recipes(grid, runs, stores)
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
        _check_data(grid, runs, located[name], name)
    return located


def check_recipes(grid: Grid, runs: Path, stores: dict[str, Path]) -> None:
    """Raise `InputError` where the grid would make a phantom study otherwise than that of runs it has begun.

    Data that are not there are not asked for.
    """
    for name, options in grid.data.items():
        before = None if name in stores else _made_of(runs / grid.name / "data" / name)
        now = PhantomOptions.model_validate(options)
        if before and before != now and (begun := _begun(grid, runs, name)):
            raise InputError(
                f"grid {grid.name} now makes {name} of {_written(now)}; {len(begun)} of its runs, such as "
                f"{begun[0][0].path.name}, were begun on one of {_written(before)}: restore data.{name}, or "
                "give the grid another name or --runs"
            )


def _made_of(store: Path) -> PhantomOptions | None:
    """The options that a phantom study was made by; None where its recipe is not there, or not whole."""
    try:
        recipe = json.loads(_recipe(store).read_text())
        return PhantomOptions.model_validate({k: v for k, v in recipe.items() if k != "store"})
    except (OSError, ValueError):
        return None


def _written(options: PhantomOptions) -> str:
    return ", ".join(f"{key}: {value}" for key, value in options)


def _check_data(grid: Grid, runs: Path, path: Path, name: str) -> None:
    """A run that is done would count beside those that begin, and one that is not would be refused midway."""
    now = Store.open(path).hash
    if other := [(folder, data) for folder, data in _begun(grid, runs, name) if data != now]:
        folder, data = other[0]
        raise InputError(
            f"{len(other)} runs of grid {grid.name}, such as {folder.path.name}, were begun with other data "
            f"({data}) than the store {path} has now ({now}): restore the data, or give the grid another "
            "name or --runs"
        )


def _begun(grid: Grid, runs: Path, name: str) -> list[tuple[RunFolder, str]]:
    """The runs of a dataset that have begun, with the hash of their data.

    Those of before edition 2 did not record it; damaged ones are told of where they are to go on.
    """
    folders = {runs / grid.name / config.folder for config in grid.configs if config.dataset == name}
    begun = []
    for folder in map(RunFolder, sorted(folders)):
        with suppress(InputError, KeyError, TypeError):
            begun.append((folder, folder.config()["identity"]["data"]))
    return begun


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
