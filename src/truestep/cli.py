"""`truestep` in a shell: one function a command, each a few calls of the library.

Nothing heavy is imported until a command needs it. Progress goes to stderr, results to stdout.
"""

from __future__ import annotations

import inspect
import math
import os
import shlex
import shutil
import sys
import tomllib
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_origin

import cyclopts
from cyclopts import App, Group, Parameter

from truestep import __version__, disk
from truestep.errors import InputError, RefusedError, TruestepError, did_you_mean
from truestep.listing import harmless, plain
from truestep.recipe import Recipe, section_fields, short_names, type_of
from truestep.signals import exit_code, handled

if TYPE_CHECKING:
    from truestep.run import Run

WITH_COMMAS = {  # choices whose values may be given as one word
    f"{section.name}.{option.name}"
    for section in fields(Recipe)
    for option in section_fields(section.name)
    if option.metadata["commas"]
}
LAST_UPDATES = 5  # shown of those that were done again
FIGURES = ("metrics", "intervals_95", "undefined")

app = App(
    name="truestep",
    help="PyTorch training you can trust, read, and leave at any time.",
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # it would end with 130, whatever the signal was
)


@contextmanager
def _warnings_in_a_line() -> Generator[None]:
    """Say warnings as all else is said; of several processes one speaks."""

    def show(message: Warning | str, *_: Any) -> None:
        if os.environ.get("RANK", "0") == "0":
            print(f"truestep: warning: {harmless(' '.join(str(message).split()), 10_000)}", file=sys.stderr)

    before, warnings.showwarning = warnings.showwarning, show
    try:
        yield
    finally:
        warnings.showwarning = before


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 2 bad input, 3 refused, 4 not finite, 130 or 143 stopped."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(
            _with_values(_with_script(given)),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",  # and not an exit, before the last output is out
        )
        sys.stdout.flush()  # here, where a full disk can still be reported
    except cyclopts.CycloptsError as error:
        _fail(str(error), InputError.exit_code)
    except TruestepError as error:
        _fail(_as_typed(str(error), given), error.exit_code)
    except BrokenPipeError:  # whoever read our output has seen enough
        _drop_output()
    except KeyboardInterrupt as error:
        _fail(str(error) or "stopped", exit_code())
    except Exception as error:
        from truestep.code import place_of, told

        if isinstance(error, OSError) and error.errno in disk.ADVICE:
            _drop_output()
            _fail(f"{error.filename or 'output'}: {error.strerror}. {disk.advice(error)}", InputError.exit_code)
        if place_of(error) is None:  # a bug of ours shows itself whole
            raise
        _fail(told(error), InputError.exit_code)
    sys.exit(0)


def _as_typed(message: str, arguments: Sequence[str]) -> str:
    """Return a message that begins with names of choices, as a recipe has them, with the options that were typed."""
    head, colon, rest = message.partition(":")
    shorts = {full: f"--{short.replace('_', '-')}" for short, full in short_names().items()}
    known = {*Recipe.names()}
    typed = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
    options: list[str] = []
    for name in head.split(", "):
        full = ".".join(name.split(".")[:2])
        if full not in known:
            return message
        option = f"--{full.replace('_', '-')}"
        options += [word for word in typed if word in (option, shorts.get(full)) or word.startswith(f"{option}.")]
        if name != full and f"--{name}" in typed:
            options = [f"--{name}"]
    return f"{', '.join(sorted(set(options)))}{colon}{rest}" if options else message


def _with_values(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `--augment.flip true` as `--augment.flip=true`: a switch alone would be true already."""
    switches = {
        f"--{section.name}.{option.name.replace('_', '-')}"
        for section in fields(Recipe)
        for option in section_fields(section.name)
        if type_of(section.name, option.name) is bool
    }
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in switches and argument in ("true", "false"):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _with_script(arguments: list[str]) -> list[str]:
    """Return the arguments of `doctor` with `--` ahead of the script's own, so that its options stay its own."""
    if arguments[:1] != ["doctor"] or "--" in arguments:
        return arguments
    with_value = {"--format", "--out", "--steps", "--select", "--ignore", "--explain"}
    place = 1
    while place < len(arguments) and arguments[place].startswith("-") and arguments[place] != "-m":
        place += 2 if arguments[place] in with_value else 1
    place += 1 + (arguments[place : place + 1] == ["-m"])
    return [*arguments[:place], "--", *arguments[place:]] if place < len(arguments) else arguments


def _fail(message: str, exit_code: int) -> None:
    if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
        print(f"truestep: {harmless(' '.join(message.split()), 2_000)}", file=sys.stderr)
    sys.exit(exit_code)


def _drop_output() -> None:
    """Let what is still waiting to be printed go nowhere: Python would fail once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _with_recipe(*sections: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every field of the recipe, `--section.field`, and for some a short name too.

    Args:
        sections: of the recipe, or single fields as "section.field"; none for all.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        for order, section in enumerate(field.name for field in fields(Recipe)):
            group = Group(f"Recipe: {section}", sort_key=order + 1)
            parameters += [
                _option(section, option, group)
                for option in section_fields(section)
                if (section, option.name) != ("data", "source")  # the first argument
                and (not sections or section in sections or f"{section}.{option.name}" in sections)
            ]
        command.__signature__ = signature.replace(parameters=parameters)
        return command

    return decorate


def _option(section: str, option: Any, group: Group) -> inspect.Parameter:
    kind = type_of(section, option.name)
    if get_origin(kind) is dict:
        kind = dict[str, str]  # values are read as TOML
    name = f"--{section}.{option.name.replace('_', '-')}"
    short = option.metadata["short"]
    default = None if option.default is MISSING else option.default
    shown = "" if default in (None, (), "") else f" [{default}]"
    told = Parameter(
        name=[f"--{short}", name] if short else [name], help=option.metadata["help"] + shown, group=group, negative=()
    )
    # Left out, an option is None: what the user did not say comes from the recipe file, or is the default.
    return inspect.Parameter(
        f"{section}__{option.name}",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, told],
    )


def _choices(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the user said, by full name."""
    said = {name.replace("__", "."): value for name, value in options.items() if value is not None}
    return {
        name: {key: _toml_value(text) for key, text in value.items()}
        if isinstance(value, dict)
        else tuple(part for text in value for part in text.split(","))
        if name in WITH_COMMAS
        else value
        for name, value in said.items()
    }


def _toml_value(text: str) -> Any:
    """Read `3`, `true` or `[64, 32]` as TOML does, and anything else as text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


@app.command
@_with_recipe()
def train(
    source: str | None = None,
    /,
    *,
    recipe: Path | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    resume_anyway: Annotated[bool, Parameter(negative=())] = False,
    quiet: Annotated[bool, Parameter(negative=())] = False,
    no_doctor: Annotated[bool, Parameter(negative=())] = False,
    tune_speed: Annotated[bool, Parameter(negative=())] = False,
    **options: Any,
) -> None:
    """Train a model on data, and leave everything about it in a folder.

    Example: truestep train yours.csv --target COLUMN --epochs 20

    Args:
        source: a bundled data set (see `truestep data`); a .csv, .tsv or .parquet file; a folder of images or texts,
            with a folder for each class; a .txt file; arrays in .npz, .pt or .safetensors; or package.module:function
            or file.py:function that returns PyTorch datasets.
        recipe: a recipe.toml to begin from, for example that of an earlier run.
        out: folder to write, new or empty, or that of this very run, which was stopped and goes on; by default one
            under runs/.
        resume: folder of a run that was stopped, to go on with; data that was moved is named as the source again.
        resume_anyway: go on though data, code or choices are no longer what the run began with.
        quiet: no progress.
        no_doctor: do not watch the first steps for silent mistakes; the results are the same.
        tune_speed: first try how many threads, which layout and how many readers are the fastest here, and keep these.
    """
    begin, choices = resume / "recipe.toml" if resume else recipe, _choices(options)
    (Recipe.from_toml(begin) if begin else Recipe()).changed(choices)  # wrong choices are said at once

    def say(sentence: str) -> None:
        if not quiet:
            print(harmless(sentence, 10_000), file=sys.stderr)

    with handled(), _warnings_in_a_line():  # the import below takes seconds already
        from truestep import run

        finished = run.train(
            source,
            recipe=recipe,
            out=out,
            resume=resume,
            resume_anyway=resume_anyway,
            show=not quiet,
            say=say,
            doctor=not no_doctor,
            tune_speed=tune_speed,
            **choices,
        )
        _summary(finished)


def _summary(finished: Run) -> None:
    """Print the final figures, where everything is, and what to do next."""
    from truestep import distributed

    if not distributed.is_main():
        return
    results = finished.results
    split = "test" if "test" in results["metrics"] else "valid"
    best = f"best epoch {results['best_epoch']} of {results['epochs']} by {results['monitor']}"
    steps, skipped = results["steps"], results["skipped"]
    print(f"\n{steps:,} update{'s' * (steps != 1)} in {results['seconds']:.1f} s ({best})", file=sys.stderr)
    if skipped:
        print(
            f"{skipped:,} more left out: their numbers were not finite; metrics.jsonl names the examples",
            file=sys.stderr,
        )
    if back := results["rollbacks"]:
        times = "once" if back == 1 else f"{back} times"
        print(
            f"gone back to a checkpoint {times}, and on behind batches whose numbers were not finite: see kind rollback in "
            f"{_in_a_shell(finished.folder / 'metrics.jsonl')}",
            file=sys.stderr,
        )
    _print_figures({kind: results[kind].get(split, {}) for kind in FIGURES}, f"{split}_")
    _print_findings(results["doctor"])
    folder, again = _in_a_shell(finished.folder), _own_model(finished)
    print(
        f"\nfolder    {folder}\nreport    {_in_a_shell(finished.folder / 'report.html')}\n"
        f"next      truestep evaluate {folder}{again}\n          truestep predict {folder} NEW{again}",
        file=sys.stderr,
    )


def _print_findings(doctor: Mapping[str, Any] | None) -> None:
    """Print what the doctor thinks is wrong with a run."""
    for one in doctor["findings"] if doctor else ():
        if one["severity"] != "note":
            place = f"{one['file']}:{one['line']}" if one["file"] else "(no line)"
            lines = [f"doctor    {place}  {one['severity']}  {one['rule']}", f"          {one['message']}"]
            lines += [f"          fix: {one['fix']}"] if one["fix"] else []
            print("\n" + "\n".join(harmless(line, 10_000) for line in lines), file=sys.stderr)


def _in_a_shell(path: Path) -> str:
    """Return a path as it is typed, without what a terminal would obey."""
    return harmless(shlex.quote(str(path)), 10_000)


def _own_model(finished: Run) -> str:
    from truestep.code import is_code

    return f" --model {_in_a_shell(Path(finished.recipe.model.name))}" if is_code(finished.recipe.model.name) else ""


def _print_figures(found: Mapping[str, Mapping[str, Any]], prefix: str) -> None:
    from truestep.progress import digits

    undefined: dict[str, list[str]] = {}
    for name, value in found["metrics"].items():
        if name in found["undefined"]:
            undefined.setdefault(found["undefined"][name], []).append(prefix + name)
            continue
        low, high = found["intervals_95"].get(name, (math.nan, math.nan))
        interval = "" if math.isnan(low) else f"   95 % interval {digits(low)} to {digits(high)}"
        print(f"{prefix + name:<29} {digits(value)}{interval}")
    for reason, names in undefined.items():
        print(harmless(f"undefined: {', '.join(names)}: {reason}", 10_000))


@app.command
def evaluate(
    folder: Path,
    source: str | None = None,
    /,
    *,
    split: str = "test",
    model: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Evaluate a trained model on labelled data, or again on a split of the data it came from.

    Args:
        folder: of a finished run.
        source: a labelled file; left out, the run's own data is read and split again.
        split: train, valid or test, of the run's own data.
        model: the model's file.py:Class or package.module:Class, if it is one of your own; nothing else runs its code.
        json: print one JSON object.
    """
    from truestep.folder import to_json
    from truestep.run import evaluate_folder

    found = evaluate_folder(folder, source, split, model=model, say=_note)
    if json:
        print(to_json(found))
    else:
        _print_figures(found, f"{split}_" if source is None else "")


def _note(sentence: str) -> None:
    print(harmless(f"note: {sentence}", 10_000), file=sys.stderr)


@app.command
def predict(
    folder: Path, source: str, /, *, out: Path | None = None, model: str | None = None, tokens: int = 100
) -> None:
    """Predict every row of a file, in order, with probabilities and the rows' own ids.

    Args:
        folder: of a finished run.
        source: what the model was trained on, without the target: a .csv, .tsv or .parquet file, an image or a folder of
            images, a .txt file or a folder of them.
        out: a .csv, .jsonl or .parquet file to write; left out, CSV goes to stdout.
        model: the model's file.py:Class or package.module:Class, if it is one of your own; nothing else runs its code.
        tokens: to continue each text by, for a model of the next token.
    """
    from truestep.prediction import Predictor, check_table_path, write_table

    if out is not None:
        check_table_path(out)
        if out.exists() and Path(source).exists() and out.samefile(source):
            raise InputError(f"{out}: expected another file than the one to predict from; it would be overwritten.")
    if tokens < 1:
        raise InputError(f"tokens: expected at least 1, found {tokens}.")
    predictor = Predictor.load(folder, own_model=model)
    table = predictor.predict(source, say=_note, tokens=tokens)
    if out is None:
        print(table.write_csv(), end="")
    else:
        write_table(table, out)
        print(f"{len(table):,} prediction{'s' * (len(table) != 1)} in {_in_a_shell(out)}", file=sys.stderr)


@app.command
def diff(one: Path, other: Path, /, *, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Say where two runs part, to the bit, and why. Exits with 3 if they do.

    Example: truestep diff runs/one runs/other

    Args:
        one: the folder of a run.
        other: that of another one.
        json: print one JSON object.
    """
    from truestep.comparison import compare
    from truestep.folder import to_json

    found = compare(one, other, say=_note)
    if json:
        print(to_json(found))
    elif found["same"]:
        print(f"the same to the bit in all {found['rows']} rows that both have logged")
    elif not found["rows"] and "found" not in found:
        print("no row of the two logs is of the same epoch and step")
        print(f"the cause: {harmless(found['cause'], 10_000)}")
    else:
        print(f"{found['rows']} rows are the same to the bit; then, at step {found['step']} (epoch {found['epoch']}):")
        _print_parting(found["found"])
        print(f"the cause: {harmless(found['cause'], 10_000)}")
    _end_of_comparison(found, found["differences"], json=json)


def _end_of_comparison(found: Mapping[str, Any], differences: Mapping[str, Any], *, json: bool) -> None:
    """Print what else differs, and exit with 3 if what was compared does."""
    if not json:
        for name, (first, second) in differences.items():
            print(harmless(f"differs: {name}: {first} and {second}", 10_000))
    sys.stdout.flush()
    if not found["same"]:
        sys.exit(RefusedError.exit_code)


@app.command
@_with_recipe("model.name", "optimizer.name", "augment.transform")
def replay(
    folder: Path,
    source: str | None = None,
    /,
    *,
    step: int | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
    quiet: Annotated[bool, Parameter(negative=())] = False,
    **options: Any,
) -> None:
    """Train a piece of a run once more, and compare it with the run's log to the bit. Exits with 3 if it differs.

    Example: truestep replay runs/digits --step 400

    It begins at the newest checkpoint before the step, or else at the start. The run's folder is left as it is.

    Args:
        folder: of a run, finished or not.
        source: the code that gives the run's data, if it is code; nothing else runs it.
        step: the update to come to; left out, the one at which numbers were not finite.
        json: print one JSON object.
        quiet: no progress.
    """
    said = _choices(options) | ({} if source is None else {"data.source": source})
    with handled(), _warnings_in_a_line():
        from truestep.folder import to_json
        from truestep.replay import replay as again

        found = again(folder, step, said=said, show=not (quiet or json), say=_note)
        if json:
            print(to_json(found))
        elif "error" in found:
            print(f"update {found['to']} again: {harmless(found['again'], 10_000)}")
            print("the same as in the run" if found["same"] else f"in the run: {harmless(found['error'], 10_000)}")
        else:
            _print_replayed(found)
    _end_of_comparison(found, found["circumstances"], json=json)


def _print_replayed(found: Mapping[str, Any]) -> None:
    print(f"updates {found['from'] + 1} to {found['to']} again, from {_beginning(found['from'])}")
    for row in found["updates"][-LAST_UPDATES:]:
        print(f"  {row['step']:>8}  loss {row['loss']!s:<22} lr {row['lr']!s:<22} weights {row['weights']}")
    if found["same"]:
        rows = "row" if found["rows"] == 1 else f"{found['rows']} rows"
        print(f"the same to the bit as the {rows} of the log")
        return
    print(f"{found['rows']} rows of the log are the same; at step {found['step']} were, and are now:")
    _print_parting(found["found"])


def _print_parting(found: Mapping[str, Any]) -> None:
    for name, (first, second) in found.items():
        print(f"  {name:<27} {first!s:>24} {second!s:>24}")


def _beginning(step: int) -> str:
    return f"the checkpoint of step {step}" if step else "the start"


@app.command
@_with_recipe("data", "objective.name", "run.seed")
def data(
    source: str | None = None,
    /,
    *,
    model: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
    **options: Any,
) -> None:
    """Show what is understood of a data set: columns, kinds, classes, splits, problems. Alone: the bundled ones.

    Exits with 2 if something would make results wrong.

    Args:
        source: as for `truestep train`; or the folder of a run, for its data and the labels that its model doubts.
        model: of a run's folder, the model's file.py:Class or package.module:Class, if it is one of your own.
        json: print one JSON object.
    """
    choices = _choices(options)
    recipe = Recipe().changed(choices)
    is_run = source is not None and os.path.isfile(os.path.join(source, "recipe.toml"))  # noqa: PTH113, PTH118 - names may be impossible
    if is_run and choices:
        raise InputError(
            f"{source}: expected no choices beside the folder of a run, which has its own: {', '.join(choices)}."
        )
    if model is not None and not is_run:
        raise InputError(f"model: expected the folder of a run to use it with, found {source or 'none'}.")

    if source is None:
        _print_bundled(json=json)
        return

    from truestep import listing, overview
    from truestep.assembly import load_data
    from truestep.folder import to_json
    from truestep.run import look_at_folder

    if is_run:
        found = look_at_folder(source, model=model, show=not json)
    else:
        found = overview.describe(load_data(recipe, source, show=not json))
    if json:
        print(to_json(found))
    else:
        _print_lines(listing.lines(found, shutil.get_terminal_size((100, 24)).columns))
    if found["problems"]:
        sys.stdout.flush()
        raise InputError(f"{source}: {' '.join(found['problems'])}")


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(plain(line, sys.stdout.encoding or "utf-8"))


def _print_bundled(*, json: bool) -> None:
    from truestep.data import bundled
    from truestep.folder import to_json

    if json:
        keys = ("name", "rows", "task", "about", "available")
        print(to_json({"bundled": [dict(zip(keys, known, strict=True)) for known in bundled.names()]}))
        return
    for name, rows, task, about, available in bundled.names():
        print(f"{name:<14} {rows:>6,} rows  {task:<11} {about}{'' if available else '  (needs scikit-learn)'}")


@app.command
@_with_recipe()
def trace(
    source: str | None = None,
    /,
    *,
    broken: str | None = None,
    recipe: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
    **options: Any,
) -> None:
    """Take one batch through the five lines of training, and show what each takes, gives and changes; then check it.

    Example: truestep trace yours.csv --target COLUMN, or with a classic mistake in: truestep trace digits --broken softmax

    Nothing is written, and a run's folder stays as it is.

    Args:
        source: as for `truestep train`, whose choices are taken too; or the folder of a run, for the model in it.
        broken: zero-grad, eval, no-grad, softmax or lr: this mistake beside the right way.
        recipe: a recipe.toml to begin from.
        json: print one JSON object.
    """
    choices = _choices(options)
    (Recipe.from_toml(recipe) if recipe else Recipe()).changed(choices)  # wrong choices are said at once

    with handled(), _warnings_in_a_line():
        from truestep.folder import to_json
        from truestep.tracing.broken import check_word
        from truestep.tracing.sources import teach_source, trace_source
        from truestep.tracing.text import coloured

        if broken is not None:
            check_word(broken)
            found = teach_source(broken, source, choices, recipe=recipe, show=not json)
        else:
            found = trace_source(source, choices, recipe=recipe, show=not json)
    if json:
        print(to_json(found.to_json()))
    else:
        shown = found.lines(shutil.get_terminal_size((80, 24)).columns)
        _print_lines(map(coloured, shown) if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else shown)


@app.command
@_with_recipe()
def eject(
    folder: Path | None = None,
    /,
    *,
    recipe: Path | None = None,
    source: str | None = None,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("train.py"),
    **options: Any,
) -> None:
    """Write a run as one plain PyTorch script that ends with the same weights and imports nothing of truestep.

    Example: truestep eject runs/digits -o train.py, then python train.py FOLDER

    What can't be written plainly is refused, with the reason.

    Args:
        folder: of a finished run.
        recipe: or a recipe.toml, of which choices may be changed by options.
        source: the data, for a recipe that names none; or the code that gives them, which a file alone may not have run.
        out: the script to write, a new file.
    """
    choices = _choices(options) | ({} if source is None else {"data.source": source})
    (Recipe.from_toml(recipe) if recipe else Recipe()).changed(choices)  # wrong choices are said at once

    from truestep.eject import eject as write

    written = write(folder, recipe=recipe, out=out, said=choices)
    script = _in_a_shell(written)
    print(f"script    {script}\nnext      python {script} FOLDER", file=sys.stderr)


@app.command
def doctor(
    script: str | None = None,
    /,
    *arguments: str,
    module: Annotated[bool, Parameter(name=["-m"], negative=())] = False,
    steps: int | None = None,
    select: Annotated[str, Parameter(show_default=False)] = "",
    ignore: Annotated[str, Parameter(show_default=False)] = "",
    format: str = "text",  # noqa: A002  the name of the option
    out: Path | None = None,
    exit_zero: Annotated[bool, Parameter(negative=())] = False,
    explain: str | None = None,
    list_rules: Annotated[bool, Parameter(name=["--list"], negative=())] = False,
) -> None:
    """Run any PyTorch training script, unmodified, and name its silent mistakes.

    Example: truestep doctor --steps 200 train.py --lr 0.1

    Exits with the script's own code unless that is 0, else with 1 if there are errors or warnings. A line that ends in
    `# truestep: allow RULE` is left alone.

    Args:
        script: a Python file; what follows it are its own arguments.
        module: the script is the name of a module, as for python -m.
        steps: end the script after this many optimizer steps; by default it comes to its end.
        select: report these rules only, separated by commas.
        ignore: leave these rules out, separated by commas.
        format: text (to stderr), json, sarif or github (to stdout, while the script's own output goes to stderr).
        out: write the report to this file instead.
        exit_zero: leave the exit code to the script, whatever is found.
        explain: print the page of a rule.
        list_rules: print the names of all rules.
    """
    from truestep.doctor import pages

    if list_rules:
        for name in pages.names():
            page = pages.page(name)
            print(f"{page.severity:<8} {name:<40} {page.title}")
        return
    if explain is not None:
        if explain not in pages.names():
            raise InputError(f"rule '{explain}': there is none of that name.{did_you_mean(explain, pages.names())}")
        print(pages.page(explain).text)
        return
    if script is None:
        raise InputError("doctor: expected a script to run, found none. See truestep doctor --help.")

    from truestep.doctor.command import examine

    chosen, left_out = ([name for name in words.split(",") if name] for words in (select, ignore))
    code = examine(
        script, arguments, module=module, steps=steps, select=chosen, ignore=left_out, kind=format, out=out,
        exit_zero=exit_zero,
    )  # fmt: skip
    sys.exit(code)
