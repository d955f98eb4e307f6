"""`attuned simulate`: seeds through worker processes, and how the figures are told."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from daemon.simulate.bank import Bank, load_bank
from daemon.simulate.checks import mechanisms, type_tables
from daemon.simulate.measure import Counts, fingerprint, measure_seed
from daemon.simulate.params import Params, load_params
from daemon.simulate.reads import face_accuracy
from daemon.simulate.workers import Work, in_workers

Progress = Callable[[int, int], None]

SCHEMA: Final = "attuned/simulate/1"


def simulate(params_file: Path | None, n_seeds: int, jobs: int, progress: Progress) -> dict[str, Any]:
    """The figures of seeds 0 to n - 1: `mechanisms`, confusions of `types`, the `faces` drawn from, `parameters`, `seeds`.

    The same for any number of jobs.

    Raises:
        ConfigError: The parameters cannot be used.
        ModelError: The bank or the learned weights are missing or damaged, or not of these models.
        FailedError: A worker process died.
    """
    params, bank = load_params(params_file), load_bank()
    counts, same = _measured(params, n_seeds, jobs, progress)
    figures = mechanisms(counts)
    figures["determinism"] = {
        "value": float(same),
        "ci95": [float(same), float(same)],
        "n": 1,
        "must": ">= 1",
        "reached": same,
    }
    return {
        "schema": SCHEMA,
        "mechanisms": figures,
        "types": type_tables(counts),
        "faces": face_accuracy(bank, params),
        "parameters": params.model_dump(mode="json"),
        "seeds": n_seeds,
    }


def run_simulation(params_file: Path | None, *, n_seeds: int, jobs: int) -> dict[str, Any]:
    """The same as `simulate`, with a progress bar on stderr."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("simulated groups", total=n_seeds)
        return simulate(params_file, n_seeds, jobs, lambda done, _total: bar.update(task, completed=done))


def _measured(params: Params, n_seeds: int, jobs: int, progress: Progress) -> tuple[list[Counts], bool]:
    """The counts of every seed, and whether the first one gave the same twice."""
    prints: list[Work[str | Counts]] = [partial(_fingerprint, params)] * 2
    works = prints + [partial(_measure, params, seed) for seed in range(n_seeds)]
    first, second, *counts = in_workers(works, jobs, lambda over: progress(max(0, len(over) - len(prints)), n_seeds))
    return [count for count in counts if not isinstance(count, str)], first == second


@cache
def _bank_here() -> Bank:
    """The bank, read once in every worker process."""
    return load_bank()


def _measure(params: Params, seed: int) -> Counts:
    return measure_seed(params, _bank_here(), seed)


def _fingerprint(params: Params) -> str:
    return fingerprint(params, _bank_here(), 0)


def format_simulation(result: dict[str, Any]) -> str:
    """A table for people: every figure, its interval, what it must be and whether it is."""
    rows = [("mechanism", "value", "95 % interval", "n", "must", "")]
    for name, figure in result["mechanisms"].items():
        known = figure["value"] is not None
        verdict = {True: "reached", False: "NOT reached", None: ""}[figure["reached"]]
        value = f"{figure['value']:.4f}" if known else "-"
        interval = "{:.4f} to {:.4f}".format(*figure["ci95"]) if known else "-"
        rows.append((name, value, interval, str(figure["n"]), figure["must"] or "", verdict))
    faces = [("faces of the bank", "condition", "n", "with mesh", "pixel", "landmark", "fused", "best weight", "gain")]
    faces += [
        tuple("-" if value is None else str(value) for value in row.values())  # type: ignore[misc]
        for row in result["faces"]
    ]
    types = [("true type, whole calls", *(str(name) for name in result["types"]["type_whole_calls"]["said"]))]
    table = result["types"]["type_whole_calls"]
    types += [(name, *map(str, row)) for name, row in zip(table["true"], table["seconds"], strict=True)]
    number = result["seeds"]
    return "\n".join(
        [*_columns(rows), "", *_columns(types), "", *_columns(faces), "", f"{number} seed{'' if number == 1 else 's'}"]
    )


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
