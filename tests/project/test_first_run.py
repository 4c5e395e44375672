"""Who types what the pages for beginners say sees what they show."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.markdown import code_blocks, write_files

PAGE = Path(__file__).parents[2] / "docs/learn/first-run.md"


def shape(line):
    """A line without what differs from day to day, and from machine to machine."""
    return re.sub(r"[█░]+|[+-]?\d[\d.:%-]*|-?\binf\b|\s+", " ", line).split()


def test_the_first_run_and_the_killed_one_go_as_the_page_says(tmp_path):
    pytest.importorskip("delve_csv")
    write_files(PAGE, tmp_path)
    code = "".join(block.code for block in code_blocks(PAGE) if block.language == "sh")
    calls = [line for line in code.splitlines() if line.startswith(("python ", "delve "))]
    shown, codes = [], []
    for call in calls:
        words = call.replace("delve ", "-m delve ", 1).replace("python ", "", 1).split()
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "80"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        codes.append(done.returncode)
        if call.startswith("delve "):
            shown.append(done.stdout.splitlines())
        else:
            assert done.stdout == ""
    assert codes == [0, 0, 1, 0, 0, 0]  # the second program dies once

    told = [block.code.splitlines() for block in code_blocks(PAGE) if block.language == "text"]
    assert len(told) == len(shown) == 3
    for lines, found in zip(told, shown, strict=True):
        assert [shape(line) for line in lines] == [shape(line) for line in found[: len(lines)]]
    rows = (tmp_path / "runs/second/metrics.csv").read_text().splitlines()[1:]
    assert [row.partition(",")[0] for row in rows] == [str(epoch) for epoch in range(10)]
    # To the last digit: the second process went on from the weights and the epoch of the first.
    assert rows == (tmp_path / "runs/first/metrics.csv").read_text().splitlines()[1:]
