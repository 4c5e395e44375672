import statistics
import subprocess
import sys

import pytest

BACKENDS = ("mlflow", "pandas", "matplotlib", "wandb", "tensorboard")


def python(program):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_delve_imports_no_backend():
    program = f"import sys, delve; print([name for name in {BACKENDS} if name in sys.modules])"
    assert python(program) == "[]"


@pytest.mark.parametrize("writer", ["csv", "mlflow"])
def test_finding_a_writer_imports_no_other_plugin_and_no_backend(writer):
    pytest.importorskip(f"delve_{writer}")
    program = (
        "import sys; from delve.delivery.discovery import load_writer_class;"
        f"load_writer_class({writer!r});"
        "print([m for m in sys.modules if m.startswith('delve_') and '.' not in m],"
        f"[name for name in {BACKENDS} if name in sys.modules])"
    )
    assert python(program) == f"['delve_{writer}'] []"


def test_importing_delve_costs_under_5_percent_of_importing_torch(monkeypatch):
    # An environment that keeps no bytecode would have Delve compiled here, and PyTorch not.
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    # PyTorch leaves Python about to look through all of its objects: whoever allocates next would
    # pay for that.
    program = (
        "import gc, time; begin = time.process_time(); import torch; gc.freeze();"
        "middle = time.process_time(); import delve;"
        "print((time.process_time() - middle) / (middle - begin))"
    )
    python(program)  # fills the caches of bytecode and files
    shares = [float(python(program)) for _ in range(5)]
    assert statistics.median(shares) < 0.05, shares
