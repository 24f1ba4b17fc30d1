"""Brings together what was seen in several processes: the ranks that `torchrun` started, and children of the script's own.

Each process watches itself and hands on its report as JSON: ranks through the store that their launcher keeps, children
through files in a folder of their parent's. Rank 0, or the parent, merges them into one.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from truestep.doctor import sites
from truestep.doctor.diagnosis import diagnose, in_order
from truestep.doctor.findings import Finding
from truestep.doctor.observe import Watch
from truestep.doctor.record import Site
from truestep.doctor.report import Report

WAIT = 60.0  # seconds, after the script's end in rank 0, that the other ranks have to come to theirs
LAUNCHERS = ("torch.distributed.run", "torch.distributed.launch")
PYTHON = re.compile(r"(python[\d.]*|torchrun|accelerate|deepspeed)(\.exe)?$")


def report_of(watch: Watch, select: Iterable[str] = (), ignore: Iterable[str] = ()) -> Report:
    """Return what is to be said of a watch that is over."""
    report = Report(diagnose(watch.record, select, ignore))
    report.take(watch.record)
    return report


def merge(report: Report, others: dict[str, Report], name: str, own: str) -> None:
    """Add to a report what other processes found: the same rule and line once, with the names of those that found it.

    Args:
        report: of this process.
        others: by the name of their process.
        name: of what processes are called in the evidence.
        own: the name of this process.
    """
    all_of_them = {own: report} | others
    trained = {label: one for label, one in all_of_them.items() if one.steps or one.backwards}
    where: dict[tuple[str, Site | None], list[str]] = {}
    for label, one in all_of_them.items():
        for finding in one.findings:
            where.setdefault((finding.rule, finding.site), []).append(label)
    findings = in_order([finding for one in all_of_them.values() for finding in one.findings])
    if len(trained) > 1:
        for finding in findings:
            finding.evidence = finding.evidence | {name: ", ".join(where[finding.rule, finding.site])}
    report.findings, report.processes = findings, len(trained)
    report.steps = max(one.steps for one in all_of_them.values())
    report.backwards = max(one.backwards for one in all_of_them.values())
    for one in others.values():
        for words, times in one.own_errors.items():
            report.own_errors[words] = report.own_errors.get(words, 0) + times
        report.unseen += one.unseen


def to_json(report: Report) -> str:
    found = [vars(one) for one in report.findings]
    return json.dumps(vars(report) | {"findings": found}, default=str)


def from_json(text: str) -> Report:
    said = json.loads(text)
    found = [Finding(**one) for one in said.pop("findings")]
    for one in found:
        one.site = Site(*one.site) if one.site else None
        one.related = [Site(*site) for site in one.related]
    return Report(found, **said)


# Ranks


class Ranks:
    """The processes of one `torchrun`, which keeps a store that all of them reach, on other machines too."""

    def __init__(self) -> None:
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")

    @staticmethod
    def of_environment() -> Ranks | None:
        """Return the ranks that this process is one of; None if it is alone."""
        by_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        return Ranks() if by_torchrun and int(os.environ.get("WORLD_SIZE", "1")) > 1 else None

    def _store(self) -> Any:
        from torch.distributed import TCPStore

        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        return TCPStore(address, port, None, False, timeout=timedelta(seconds=10))

    def _key(self, rank: int) -> str:
        return f"truestep/doctor/{self.attempt}/{rank}"

    def gather(self, report: Report) -> None:
        """Hand on a report, or in rank 0 take in those of the others; a rank that gives none is named."""
        try:
            store = self._store()
            if self.rank:
                store.set(self._key(self.rank), to_json(report))
                return
        except (RuntimeError, OSError):  # the launcher has gone already
            report.unseen += [f"rank {rank}" for rank in range(1, self.size)] if not self.rank else []
            return
        missing, others, until = set(range(1, self.size)), dict[str, Report](), time.monotonic() + WAIT
        try:
            while missing and time.monotonic() < until:
                for rank in sorted(missing):
                    if store.check([self._key(rank)]):
                        others[str(rank)] = from_json(store.get(self._key(rank)).decode())
                        missing.discard(rank)
                time.sleep(0.05)
        except (RuntimeError, OSError, KeyboardInterrupt, SystemExit):  # the launcher ends us too: say what there is
            pass
        merge(report, others, "ranks", "0")
        report.unseen += [f"rank {rank}" for rank in sorted(missing)]


def launched(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return the arguments of a launcher of `LAUNCHERS`, changed so that each process that it starts runs under the doctor.

    Args:
        arguments: of the launcher: its options, the script, and the script's arguments.
        options: of the doctor.
    """
    from torch.distributed.run import get_args_parser

    parsed = get_args_parser().parse_args(list(arguments))
    own = list(arguments[: len(arguments) - 1 - len(parsed.training_script_args)])
    of_module = ["-m"] if parsed.module else []
    own = [word for word in own if word not in ("-m", "--module")]
    return [
        *own,
        "-m",
        "truestep",
        "doctor",
        *options,
        *of_module,
        parsed.training_script,
        *parsed.training_script_args,
    ]


# Children


class Watched:
    """What a child of the script is to do, and to watch itself meanwhile."""

    def __init__(self, target: Callable[..., Any], folder: str) -> None:
        self.target, self.folder = target, folder

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "torch" not in sys.modules:
            return self.target(*args, **kwargs)
        if Watch.current is not None:  # a fork has its parent's
            Watch.current.leave()
        watch = Watch()
        with watching_children() as children:
            watch.start()
            try:
                result = self.target(*args, **kwargs)
                watch.record.finished = True
            finally:
                watch.stop()
                self._hand_on(watch, children)
        return result

    def _hand_on(self, watch: Watch, children: Children) -> None:
        report, name = report_of(watch), multiprocessing.current_process().name
        children.gather(report)
        path = Path(self.folder, f"{name}-{os.getpid()}.json")
        if path.parent.is_dir():  # else nobody waits for it any more
            part = path.with_suffix(".part")
            part.write_text(to_json(report))
            part.replace(path)


class Children:
    """The processes that this one starts."""

    def __init__(self, folder: str) -> None:
        self.folder, self.process = folder, os.getpid()
        self.started: list[tuple[str, BaseProcess]] = []
        self.programs = 0  # other Pythons

    def gather(self, report: Report) -> None:
        """Wait for the children as Python does at its end, and take in what they report."""
        own = [child for _, child in self.started]
        for child in own:
            if child.is_alive() and not child.daemon:
                child.join()
        told = {path.stem: from_json(path.read_text()) for path in sorted(Path(self.folder).glob("*.json"))}
        names = {f"{name}-{child.pid}": name for name, child in self.started}
        if told:
            merge(report, {names.get(stem, stem): one for stem, one in told.items()}, "processes", "the script's own")
        report.unseen += [name for stem, name in names.items() if stem not in told]
        report.unseen += ["another Python"] * self.programs


@contextmanager
def watching_children() -> Generator[Children]:
    """Let the processes that the script starts with `multiprocessing`, or that `torch` starts so for it, watch themselves.

    Workers of loaders and pools are left alone: they don't train.
    """
    start, popen = BaseProcess.start, subprocess.Popen.__init__
    with tempfile.TemporaryDirectory(prefix="truestep-doctor-", ignore_cleanup_errors=True) as folder:
        children = Children(folder)

        def started(self: Any) -> None:
            target = getattr(self, "_target", None)
            if os.getpid() != children.process or not trains(self):
                start(self)
                return
            children.started.append((self.name, self))
            if target is not None:
                self._target = Watched(target, folder)
            start(self)

        def opened(self: Any, args: Any, *others: Any, **named: Any) -> None:
            popen(self, args, *others, **named)
            word = args if isinstance(args, str | os.PathLike) else next(iter(args), "")
            first = str(word).split(" ")[0]
            children.programs += bool(PYTHON.match(os.path.basename(first))) and os.getpid() == children.process  # noqa: PTH119

        BaseProcess.start, subprocess.Popen.__init__ = started, opened
        try:
            yield children
        finally:
            BaseProcess.start, subprocess.Popen.__init__ = start, popen


def trains(process: Any) -> bool:
    """Whether a process may be one that trains: its work is the user's own function, or what `torch` starts such with."""
    target = getattr(process, "_target", None)
    if target is None:
        return type(process).run is not BaseProcess.run and sites.is_users(_file_of(type(process).run))
    while isinstance(target, functools.partial):
        target = target.func
    if (getattr(target, "__module__", None) or "").startswith(("torch.multiprocessing", "torch.distributed")):
        return True
    code = target if hasattr(target, "__code__") else getattr(target, "__func__", type(target).__call__)
    return sites.is_users(_file_of(code))


def _file_of(function: Any) -> str:
    code = getattr(function, "__code__", None)
    return code.co_filename if code is not None else "<unknown>"
