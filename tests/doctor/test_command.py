"""`truestep doctor` from a shell: the script runs as with Python, and the report stands beside it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """\
import sys
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(int(sys.argv[1]) if len(sys.argv) > 1 else 12):
    inputs, targets = torch.randn(8, 4), torch.randint(3, (8,))
    optimizer.zero_grad()
    loss = F.cross_entropy(model(inputs).softmax(1), targets){allow}
    loss.backward()
    optimizer.step()
    print("loss", loss.item())
{end}
"""


def doctor(folder, *arguments, script=None, end="", allow="", **options):
    path = folder / "train.py"
    path.write_text(script if script is not None else SCRIPT.format(end=end, allow=allow))
    return subprocess.run(
        [sys.executable, "-m", "truestep", "doctor", *arguments],
        capture_output=True, text=True, cwd=folder, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}, **options,
    )  # fmt: skip


def test_a_finding_is_shown_with_its_line_numbers_and_the_line_to_write(tmp_path):
    plain = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(end="", allow="")], capture_output=True, text=True, check=True
    )
    ended = doctor(tmp_path, "train.py")

    assert ended.returncode == 1
    assert ended.stdout == plain.stdout
    assert "train.py:12  error  softmax-before-cross-entropy" in ended.stderr
    assert ">   12 |     loss = F.cross_entropy(model(inputs).softmax(1), targets)" in ended.stderr
    assert "0.551" in ended.stderr  # ln(1 + 2 / e)
    assert "1 error" in ended.stderr.splitlines()[-1]


def test_the_scripts_own_options_reach_it(tmp_path):
    ended = doctor(tmp_path, "--exit-zero", "train.py", "5")

    assert ended.returncode == 0
    assert ended.stdout.count("loss") == 5


def test_json_alone_is_on_stdout(tmp_path):
    ended = doctor(tmp_path, "--format", "json", "train.py")
    said = json.loads(ended.stdout)

    assert (said["version"], said["script"], said["exit"], said["steps"]) == (1, "train.py", 0, 12)
    [finding] = said["findings"]
    assert (finding["rule"], finding["severity"], finding["file"], finding["line"]) == (
        "softmax-before-cross-entropy", "error", "train.py", 12,
    )  # fmt: skip
    assert finding["evidence"]["classes"] == 3
    assert finding["why"]
    assert finding["fix"]
    assert "loss" in ended.stderr


def test_sarif_and_github_name_the_same_place(tmp_path):
    [result] = json.loads(doctor(tmp_path, "--format", "sarif", "train.py").stdout)["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (result["ruleId"], place["artifactLocation"]["uri"], place["region"]["startLine"]) == (
        "softmax-before-cross-entropy", "train.py", 12,
    )  # fmt: skip

    words = doctor(tmp_path, "--format", "github", "train.py").stdout
    assert words.startswith("::error file=train.py,line=12,title=softmax-before-cross-entropy::")


def test_a_report_can_go_to_a_file(tmp_path):
    ended = doctor(tmp_path, "--out", "report.txt", "train.py")

    assert "softmax-before-cross-entropy" in (tmp_path / "report.txt").read_text()
    assert "softmax" not in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.txt", "train.py"]


def test_a_rule_can_be_allowed_on_its_line_left_out_or_asked_alone(tmp_path):
    assert doctor(tmp_path, "train.py", allow="  # truestep: allow softmax-before-cross-entropy").returncode == 0
    assert doctor(tmp_path, "train.py", allow="  # truestep: allow another-rule").returncode == 1
    assert doctor(tmp_path, "--ignore", "softmax-before-cross-entropy", "train.py").returncode == 0
    assert doctor(tmp_path, "--select", "gradients-not-cleared", "train.py").returncode == 0


def test_steps_end_the_script(tmp_path):
    ended = doctor(tmp_path, "--steps", "4", "train.py", end="print('never')")

    assert ended.stdout.count("loss") == 3
    assert "never" not in ended.stdout
    assert "in 4 optimizer steps" in ended.stderr


def test_a_crash_keeps_its_traceback_and_code_and_what_was_found(tmp_path):
    ended = doctor(tmp_path, "train.py", end="raise RuntimeError('my own mistake')")

    assert ended.returncode == 1
    assert "RuntimeError: my own mistake" in ended.stderr
    assert "truestep/doctor" not in ended.stderr
    assert "softmax-before-cross-entropy" in ended.stderr


def test_an_exit_code_of_the_scripts_stays(tmp_path):
    assert doctor(tmp_path, "train.py", end="sys.exit(7)").returncode == 7


def test_a_module_runs_as_with_python(tmp_path):
    ended = doctor(tmp_path, "-m", "train", "6")

    assert ended.returncode == 1
    assert ended.stdout.count("loss") == 6
    assert "train.py:12  error" in ended.stderr


def test_ctrl_c_shows_what_was_found_so_far(tmp_path):
    (tmp_path / "train.py").write_text(
        SCRIPT.format(end="print('waiting', flush=True)\nimport time\ntime.sleep(60)", allow="")
    )
    with subprocess.Popen(
        [sys.executable, "-m", "truestep", "doctor", "train.py"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job has it ignored
    ) as process:  # fmt: skip
        assert process.stdout
        for line in process.stdout:
            if "waiting" in line:
                break
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=110)

    assert process.returncode == 130
    assert "softmax-before-cross-entropy" in errors


@pytest.mark.parametrize(
    ("arguments", "full", "code"),
    [([], "stdout", 1), ([], "stderr", 2), (["--format", "json"], "stdout", 2), (["--out", "/dev/full"], "", 2)],
)
def test_a_full_device_ends_it_in_words(arguments, full, code, tmp_path):
    (tmp_path / "train.py").write_text(
        SCRIPT.format(end="", allow="").replace('print("loss", loss.item())', "loss.item()")
    )
    with Path("/dev/full").open("w") as device:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | ({full: device} if full else {})
        ended = subprocess.run(
            [sys.executable, "-m", "truestep", "doctor", *arguments, "train.py"],
            cwd=tmp_path, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=100, **streams,
        )  # fmt: skip

    assert ended.returncode == code
    assert "Traceback" not in (ended.stderr or "")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.parametrize("closed", [False, True], ids=["full", "closed pipe"])
def test_output_that_fails_at_the_end_keeps_the_report(closed, tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT.format(end="", allow=""))
    reading, writing = os.pipe()
    os.close(reading)
    with Path("/dev/full").open("w") as device:
        ended = subprocess.run(
            [sys.executable, "-m", "truestep", "doctor", "train.py"],
            cwd=tmp_path, stdout=writing if closed else device, stderr=subprocess.PIPE, text=True, check=False,
            env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    os.close(writing)

    assert ended.returncode == 120  # as Python's own
    assert "softmax-before-cross-entropy" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "script", ["print('hello')", "import torch\nmodel = torch.nn.Linear(2, 2)\nmodel(torch.ones(1, 2))"]
)
def test_a_script_without_training_is_told_so(script, tmp_path):
    ended = doctor(tmp_path, "train.py", script=script)

    assert ended.returncode == 0
    assert "saw no training" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nosuch.py"], "'nosuch.py': no such file."),
        (["--select", "softmax-before-crossentropy", "train.py"], "Did you mean 'softmax-before-cross-entropy'?"),
        (["--format", "xml", "train.py"], "--format: expected one of text, json, sarif, github"),
        (["--steps", "0", "train.py"], "--steps: expected at least 1"),
        (["--out", "nowhere/report.txt", "train.py"], "does not exist"),
        (["--explain", "gradients-not-clear"], "Did you mean 'gradients-not-cleared'?"),
        ([], "expected a script"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(arguments, words, tmp_path):
    ended = doctor(tmp_path, *arguments)

    assert ended.returncode == 2
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_catalogue_is_shown_without_torch(tmp_path):
    code = (
        "import sys; from truestep.cli import main\n"
        "try: main(['doctor', '--list'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    page = doctor(tmp_path, "--explain", "gradients-not-cleared").stdout

    assert "gradients-not-cleared" in listed
    assert "Bad:" in page
    assert "Not a mistake:" in page
