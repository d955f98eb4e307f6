"""`attuned evaluate`: models against labelled data, and galleries against their truth."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from daemon.commands import JsonOption, one_line_errors

if TYPE_CHECKING:
    from models.evaluation.measure import Evaluation

evaluate_app = typer.Typer(no_args_is_help=True, help="Measure models and galleries against the truth.")


@evaluate_app.command("expression")
@one_line_errors
def evaluate_expression_command(
    data: Annotated[
        Path,
        typer.Argument(
            help="An npz, a MANIFEST.csv, a folder of pictures, FER2013, RAF-DB, AffectNet (docs/models.md)."
        ),
    ],
    model: Annotated[
        list[str] | None, typer.Option(help="By name, `fused`, or the .yaml of one of yours; default: all we ship.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="The part of the data to take, such as PublicTest, test or validation.")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(help="Degrade the pictures as well: 24px, dark, noise, turned, … (docs/models.md)."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="PNG with confusion, reliability, risk and F1.", readable=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Accuracy, recall, F1, confusion, log-loss, calibration and complementarity, with 95 % bootstrap intervals."""
    from models.evaluation.picture import draw_evaluation
    from models.evaluation.text import format_evaluation

    evaluation = measure_expression(data, model or (), split=split, conditions=condition or (), plot=plot)
    print(json.dumps(evaluation.result, indent=1) if as_json else format_evaluation(evaluation.result))
    if plot is not None:
        draw_evaluation(evaluation, plot, title=data.resolve().name)


@evaluate_app.command("gallery")
@one_line_errors
def evaluate_gallery_command(
    video: Annotated[Path, typer.Argument(help="A recording of a gallery.", readable=False)],
    truth: Annotated[Path, typer.Argument(help="Its layouts, as JSON (README).", readable=False)],
    config: Annotated[
        Path | None,
        typer.Option("-c", "--config", help="Settings; default ./attuned.yaml, where there is one.", readable=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tiles found and people followed: recall, precision, IoU, id switches, seconds to settle after a re-flow."""
    from daemon.commands import settings_from
    from daemon.evaluate_gallery import evaluate_gallery, format_gallery

    settings = settings_from(config)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(video.name, total=None)
        figures = evaluate_gallery(
            video,
            truth,
            settings=settings,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    print(json.dumps(figures.as_json(), indent=1) if as_json else format_gallery(figures))


@evaluate_app.command("personal")
@one_line_errors
def evaluate_personal_command(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="A CSV of path, subject, group, order, start_s, end_s, label (and valence, arousal): stills, videos, or "
            "what OpenFace wrote.",
            readable=False,
        ),
    ],
    learner: Annotated[
        list[str] | None, typer.Option(help="`offset`, `head`, `knn`, `random-forest`, `mlp`; default: all of them.")
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="`rolling`: each block of time with all before it. `last`: the last take of each class, as of posed ones."
        ),
    ] = "rolling",
    min_per_class: Annotated[
        int | None,
        typer.Option(
            min=2, help="Rows that make a class one of a person's; default 10, or 2 where nobody has two such classes."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn at random.")] = 0,
    curves: Annotated[
        bool, typer.Option("--curves", help="Also how many samples a head needs, by the method that selects them.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Generic models against personal ones, person by person, learnt earlier and judged later."""
    from daemon.evaluate_personal import format_personal, measure_personal

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        result = measure_personal(
            manifest,
            learner or (),
            split=split,
            min_per_class=min_per_class,
            seed=seed,
            curves=curves,
            progress=told,
        )
    print(json.dumps(result, indent=1) if as_json else format_personal(result))


def measure_expression(
    data: Path,
    models: Sequence[str],
    *,
    split: str | None = None,
    conditions: Sequence[str] = (),
    plot: Path | None = None,
) -> "Evaluation":
    """The figures of the models on a data set, with a bar for each search for meshes.

    `plot` is where a picture will go: that it can is checked before anything is measured.

    Raises:
        DataError: The data, a condition or the place of the picture cannot be used.
        ModelError: There is no model of a name, or it is missing or damaged.
    """
    from models.evaluation.measure import evaluate_expression
    from models.evaluation.picture import check_place

    if plot is not None:
        check_place(plot)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        def warned(line: str) -> None:
            progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

        return evaluate_expression(data, models, split=split, conditions=conditions, progress=told, warn=warned)
