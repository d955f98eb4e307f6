"""`attuned models`: the expression models, and everybody's personal heads."""

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from daemon.commands import ConfigOption, JsonOption, one_line_errors, settings_from

models_app = typer.Typer(no_args_is_help=True, help="The expression models there are.")


@models_app.command("list")
@one_line_errors
def models_list(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The models that come with attuned, and those that the configuration names."""
    from daemon.catalogue import format_models, list_models

    found = list_models(settings_from(config))
    print(json.dumps({"models": found}, indent=1, ensure_ascii=False) if as_json else format_models(found))


@models_app.command("show")
@one_line_errors
def models_show(
    model: Annotated[
        str, typer.Argument(help="A name that `list` shows, a participant, or the YAML that describes a model.")
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """All that is known of one model, after loading it: file, hash, input and output are as they are said to be."""
    from daemon.catalogue import format_model, show_model, show_person

    is_person = re.fullmatch(r"p-[0-9a-f]{8}", model)
    found = show_person(settings_from(config), model) if is_person else show_model(model)
    print(json.dumps(found, indent=1, ensure_ascii=False) if as_json else format_model(found))


@models_app.command("rollback")
@one_line_errors
def models_rollback(
    participant: Annotated[str, typer.Argument(help="Whose head, such as p-3f2a91c0.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the head that reads a participant back for good; the version before it serves, else the generic one."""
    from daemon.catalogue import roll_back

    done = roll_back(settings_from(config), participant)
    print(json.dumps(done) if as_json else f"{done['participant']}: {done['from']} → {done['to']}")


@models_app.command("forget")
@one_line_errors
def models_forget(
    participant: Annotated[str, typer.Argument(help="Who is to be forgotten, such as p-3f2a91c0.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase all samples, pictures and heads of a participant; this cannot be undone."""
    from daemon.catalogue import forget

    done = forget(settings_from(config), participant)
    print(json.dumps(done) if as_json else f"{done['participant']}: {done['state']}")


@models_app.command("report")
@one_line_errors
def models_report(
    participant: Annotated[str, typer.Argument(help="Whose models, such as p-3f2a91c0.")],
    out: Annotated[Path, typer.Option(help="Folder for personal.html and figures/.", readable=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace what was written into the folder before.")] = False,
    config: ConfigOption = None,
) -> None:
    """What was learnt of a participant and whether it helps, as a page with figures and their data.

    Before and after, learning curves by method of selection, principal components, correlations and importances of
    features, heads, and what was tried and rejected. For many people at once: `attuned evaluate personal`.
    """
    from daemon.report.personal import write_personal_report

    print(f"{write_personal_report(settings_from(config), participant, out, force=force)}", file=sys.stderr)
