"""Programs in several processes: gloo on this machine, started the way that torchrun does."""

import os
import subprocess
import sys
import textwrap

PROLOGUE = """
import json, logging, os, sys
from datetime import timedelta
from pathlib import Path
import torch, torch.distributed as dist
from torch import nn
from delve import SaturationTracker
rank, folder = int(os.environ["RANK"]), Path(sys.argv[1])
logging.basicConfig(format="%(message)s")
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # at once, whole
class Saying:
    def add_scalars(self, value_dict, global_step):
        say("ROW", global_step, json.dumps(value_dict))
def init():
    dist.init_process_group("gloo", timeout=timedelta(seconds={timeout}))
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
"""


def torchrun(program, *arguments, processes=2, cwd=None):
    command = [
        sys.executable,
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)),
        *map(str, (program, *arguments)),
    ]
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def run_ranks(tmp_path, begin, body, processes=2, timeout=300, has_group=True):
    """Run ``begin`` as it stands, then ``body``, in each process after the prologue.

    Args:
        tmp_path: Where the program is written, and runs.
        begin: What comes first.
        body: What follows; it may be indented.
        processes: How many there are.
        timeout: The process group's, in seconds.
        has_group: False leaves it to the program to call ``init()``.
    """
    program = tmp_path / "program.py"
    # Torch's own threads may abort a process that takes its time to end.
    end = "\ndist.destroy_process_group()\nsys.stdout.flush()\nsys.stderr.flush()\nos._exit(0)\n"
    start = "init()\n" if has_group else ""
    parts = (PROLOGUE.format(timeout=timeout), start, begin, textwrap.dedent(body), end)
    program.write_text("".join(parts))
    return torchrun(program, tmp_path / "run", processes=processes, cwd=tmp_path)


def lines_of(done, word):
    """The lines that a program said, sorted, of those that begin with a word."""
    return sorted(line for line in done.stdout.splitlines() if line.split(" ")[0] == word)
