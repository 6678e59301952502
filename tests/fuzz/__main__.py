"""`python -m fuzz`: exit status 0 where nothing was found, 1 where something was."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fuzz import page
from fuzz.front import attack
from fuzz.page import Found
from fuzz.run import Plan, fuzz
from fuzz.schema import check_schema
from fuzz.targets import TARGETS
from seqserve.native_front import library

TOOLS = Path(".venv-fuzz")
NATIVE = "native"
FRONTS = ("python", NATIVE)
SCHEMA = "openapi"
EXECUTIONS_A_CONNECTION, EXECUTIONS_AN_EXAMPLE = 500, 5000
"""So much longer one takes: of a million, 2,000 connections and 200 examples of each operation."""
SEED = 7
ORDER = (*TARGETS, *FRONTS, SCHEMA)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(ORDER))
@click.option("--executions", default=1_000_000, show_default=True, help="Of each target.")
@click.option(
    "--seconds", default=0, show_default=True, help="At most, of each coverage-guided one; 0: no end."
)
@click.option("--tools", type=click.Path(path_type=Path), default=TOOLS, help="Environment with atheris.")
@click.option(
    "--keep", "is_kept", is_flag=True, help="Put inputs that reach more than tests/fuzz/corpus does into it."
)
@click.option(
    "--reproduce", type=click.Path(path_type=Path), help="Only this input, of the one target named."
)
@click.option(
    "--record",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A document with marks for it: docs/reliability.md.",
)
def main(
    names: tuple[str, ...], tools: Path, reproduce: Path | None, record: Path | None, **planned: Any
) -> None:
    """Fuzz everything, or what is named: targets, a front (python, native), REST by its openapi."""
    if reproduce is not None:
        (name,) = names
        TARGETS[name].check(reproduce.read_bytes())
        click.echo(f"{name}: no crash")
        return
    if record:
        page.check_marks(record)  # and not in hours
    if NATIVE in names and (why := library.why_not()):
        raise click.ClickException(f"{NATIVE}: {why}")
    plan = Plan(tools=tools.absolute(), **planned)
    found = []
    for name in names or ORDER:
        found.append(_ended(name, plan))
        _say(found[-1].line)
        if record:
            page.record(found, record, ORDER)
    click.echo("\n".join(each.line for each in found))
    sys.exit(1 if any(each.finds for each in found) else 0)


def _ended(name: str, plan: Plan) -> Found:
    """One to its end; where it ends by an error of ours, the others still have their turn."""
    try:
        return _kind(name)(name, plan)
    except Exception as error:  # noqa: BLE001 - see above
        _say(traceback.format_exc())
        return Found(name, f"{name}: FAILED {error!r}", 1)


def _kind(name: str) -> Callable[[str, Plan], Found]:
    if name == SCHEMA:
        return _schema
    return _front if name in FRONTS else _target


def _target(name: str, plan: Plan) -> Found:
    outcome = fuzz(name, plan, _say)
    if outcome.crash is not None:
        _say(f"again: PYTHONPATH=tests .venv/bin/python -m fuzz {name} --reproduce {outcome.crash}")
    return Found(
        name, outcome.line(), int(outcome.has_failed), f"{outcome.executions:,}", f"{outcome.coverage:,}"
    )


def _front(name: str, plan: Plan) -> Found:
    if name == NATIVE and library.why_not():
        return Found(name, f"native front: left out, {library.why_not()}", 0)
    made = asyncio.run(attack(name, max(plan.executions // EXECUTIONS_A_CONNECTION, 1), SEED, _say))
    _say("\n".join(made.faults))
    return Found(name, made.line(), len(made.faults), made.executions)


def _schema(name: str, plan: Plan) -> Found:
    program = plan.tools / "bin" / "schemathesis"
    checked = check_schema(program, max(plan.executions // EXECUTIONS_AN_EXAMPLE, 1), _say)
    if checked.has_failed:
        _say(checked.words)
    return Found(name, f"{name}: {checked.summary}", int(checked.has_failed), checked.requests)


def _say(words: str) -> None:
    click.echo(words, err=True)


if __name__ == "__main__":
    main()
