"""Runs a script or module of the user's as Python would, and watches it."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from truestep import disk
from truestep.doctor import pages
from truestep.doctor.report import FORMATS, Report, rendered
from truestep.errors import InputError, did_you_mean


class Enough(BaseException):
    """Enough steps were seen. No `except Exception` of a script takes it for its own."""


def examine(
    target: str,
    arguments: Sequence[str] = (),
    *,
    module: bool = False,
    steps: int | None = None,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    kind: str = "text",
    out: Path | None = None,
    exit_zero: bool = False,
) -> int:
    """Run a script to its end, write the report, and return the exit code.

    Args:
        target: a file, or with `module` the name of a module.
        arguments: its own.
        module: whether it is run as `python -m` would.
        steps: of optimizers, after which it is ended; None lets it come to its end.
        select: rules; none for all.
        ignore: rules to leave out.
        kind: of the report, one of `FORMATS`.
        out: a file for it. Without one, text goes to stderr, and the other kinds to stdout while the script's own
            output goes to stderr.
        exit_zero: whether findings leave the exit code alone.

    Returns:
        The script's own exit code unless that is 0, else 1 if there are errors or warnings.

    Raises:
        InputError: there is no such file, rule or format.
    """
    if kind not in FORMATS:
        raise InputError(
            f"--format: expected one of {', '.join(FORMATS)}, found '{kind}'.{did_you_mean(kind, FORMATS)}"
        )
    for rule in (*select, *ignore):
        if rule not in pages.names():
            raise InputError(
                f"rule '{rule}': there is none of that name.{did_you_mean(rule, pages.names())} See --list."
            )
    if not module and not Path(target).is_file():
        raise InputError(f"'{target}': no such file.")
    if steps is not None and steps < 1:
        raise InputError(f"--steps: expected at least 1, found {steps}.")
    if out is not None and not out.parent.is_dir():
        raise InputError(f"--out: the folder '{out.parent}' does not exist.")

    from truestep.doctor import processes
    from truestep.doctor.observe import Watch

    if module and target in processes.LAUNCHERS:
        options = _as_options(steps=steps, select=select, ignore=ignore, kind=kind, out=out, exit_zero=exit_zero)
        return run(target, processes.launched(arguments, options), module=True)
    watch, ranks = Watch(), processes.Ranks.of_environment()
    if steps is not None:
        _end_after(watch, steps)
    if ranks is not None:  # a launcher ends all when one of them fails
        signal.signal(signal.SIGTERM, _terminated)
    stdout = _redirected() if kind != "text" and out is None else None
    with processes.watching_children() as children:
        watch.start()
        try:
            exit_code = run(target, arguments, module=module)
            watch.record.finished = exit_code == 0
            if not _flushed():  # as Python ends where the last output can't be written
                exit_code = exit_code or 120
        finally:
            watch.stop()
        report = processes.report_of(watch, select, ignore)
        report.script, report.exit_code = target, exit_code
        children.gather(report)
    if ranks is not None:
        ranks.gather(report)
    if ranks is not None and ranks.rank:
        return report.exit_code  # what it found is said, and counted, by the first
    _write(report, kind, out, stdout)
    if report.exit_code:
        return report.exit_code
    return 1 if report.alarms and not exit_zero else 0


def _terminated(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _as_options(
    *, steps: int | None, select: Iterable[str], ignore: Iterable[str], kind: str, out: Path | None, exit_zero: bool
) -> list[str]:
    """Return the doctor's options as they are typed."""
    values = {
        "--steps": steps,
        "--select": ",".join(select),
        "--ignore": ",".join(ignore),
        "--format": kind,
        "--out": out,
    }
    words = [str(word) for name, value in values.items() if value for word in (name, value)]
    return words + ["--exit-zero"] * exit_zero


def _end_after(watch: Any, steps: int) -> None:
    original = watch.steps._on_post

    def post(*given: Any) -> None:
        original(*given)
        if watch.record.steps >= steps:
            raise Enough

    watch.steps._on_post = post


def run(
    target: str,
    arguments: Sequence[str],
    *,
    module: bool,
    at_end: Callable[[dict[str, Any]], object] = lambda _: None,
) -> int:
    """Run a script or module as `__main__`, and return its exit code; a traceback is printed without our frames.

    Args:
        target: a file, or with `module` the name of a module.
        arguments: its own.
        module: as `python -m` would.
        at_end: is given the names that a script leaves behind.
    """
    before = sys.argv, sys.path[0], sys.modules["__main__"]
    try:
        if module:
            sys.argv, sys.path[0] = [target, *arguments], str(Path.cwd())
            runpy.run_module(target, run_name="__main__", alter_sys=True)
        else:
            path = Path(target)
            sys.argv, sys.path[0] = [target, *arguments], str(path.resolve().parent)
            main = ModuleType("__main__")
            main.__dict__.update(__file__=str(path), __builtins__=__builtins__, __cached__=None)
            sys.modules["__main__"] = main
            exec(compile(path.read_bytes(), str(path.resolve()), "exec"), main.__dict__)  # noqa: S102  what was asked
            at_end(main.__dict__)
    except Enough:
        return 0
    except SystemExit as end:
        if isinstance(end.code, int | None):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BaseException as error:  # noqa: BLE001  it is the script's own and is shown as Python would
        trace = error.__traceback__
        while trace is not None and Path(trace.tb_frame.f_code.co_filename).parent == Path(__file__).parent:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return 1
    finally:
        sys.argv, sys.path[0] = before[0], before[1]
    return 0


def _flushed() -> bool:
    """Write what waits in the buffer of stdout, or drop it if nobody takes it: Python would fail once more at its end."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        with suppress(OSError):
            print(f"output: {error.strerror}", file=sys.stderr)
        return False
    return True


def _redirected() -> int:
    """Send the script's output to stderr, and return where ours goes."""
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)
    return ours


def _write(report: Report, kind: str, out: Path | None, stdout: int | None) -> None:
    words = rendered(report, kind, colour=out is None and sys.stderr.isatty() and not os.environ.get("NO_COLOR")) + "\n"
    if out is not None and out.exists() and not out.is_file():  # a device, a pipe
        out.write_text(words, encoding="utf-8")
    elif out is not None:
        temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
        disk.remove(temporary)  # a planted link, which would be followed
        with disk.create(temporary) as file:
            disk.write(file, words.encode())
        disk.rename(temporary, out)
    elif stdout is not None:
        os.dup2(stdout, 1)
        os.close(stdout)
        sys.stdout.write(words)
        sys.stdout.flush()
    else:
        try:
            sys.stderr.write(f"\n{words}")
            sys.stderr.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            raise
