"""One fault of the disk, at each file operation of a run in turn, costs nothing.

A sample of the operations is tried; ``DELVE_SWEEP=all`` tries each of them.
"""

import json
import os
import subprocess
import sys

import pytest

for plugin in ("delve_csv", "delve_npy", "delve_plot", "delve_tensorboard"):
    pytest.importorskip(plugin)


@pytest.mark.parametrize("how", ["new", "resume"])
def test_one_fault_of_the_disk_costs_nothing(how, tmp_path):
    every = 1 if os.environ.get("DELVE_SWEEP") == "all" else 3
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "support.file_faults", str(tmp_path / "runs"), how, str(every)]
    child = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert child.returncode == 0, child.stderr
    result = json.loads(child.stdout)
    assert result["tried"] > 15
    assert not result["wrong"]
