"""Which process writes: by its environment while there is no process group, then by that."""

import os
import subprocess
import sys

import pytest
from support.ranks import lines_of, run_ranks

from delve.numerics.processes import not_first

ENVIRONMENTS = [
    ({}, None),
    ({"RANK": "0", "SLURM_PROCID": "3"}, None),  # torchrun, started once by srun in each node
    ({"RANK": "2", "LOCAL_RANK": "0"}, "RANK"),
    ({"LOCAL_RANK": "1"}, "LOCAL_RANK"),
    ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, None),
    ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, "NODE_RANK"),
    ({"NODE_RANK": "1"}, None),  # of a machine, and of no process
    ({"SLURM_PROCID": "0", "LOCAL_RANK": "1"}, "LOCAL_RANK"),  # Lightning in a shell of SLURM's
    ({"SLURM_PROCID": "1", "LOCAL_RANK": "0"}, "SLURM_PROCID"),
    ({"OMPI_COMM_WORLD_RANK": "1"}, "OMPI_COMM_WORLD_RANK"),
    ({"PMI_RANK": "1"}, "PMI_RANK"),
    ({"PMIX_RANK": "0", "JSM_NAMESPACE_RANK": "4"}, "JSM_NAMESPACE_RANK"),
    ({"RANK": "", "LOCAL_RANK": "none"}, None),
]


@pytest.mark.parametrize(("environment", "variable"), ENVIRONMENTS)
def test_the_environment_names_the_first_process(environment, variable):
    assert not_first(environment) == variable


@pytest.mark.parametrize(
    ("variable", "level"), [("LOCAL_RANK", "INFO"), ("SLURM_PROCID", "WARNING")]
)
def test_a_process_that_is_not_the_first_touches_nothing_and_says_why(tmp_path, variable, level):
    program = (
        "import sys, logging, torch; from delve import SaturationTracker;"
        "logging.basicConfig(level='INFO', format='%(levelname)s %(message)s');"
        "t = SaturationTracker(sys.argv[1], 'print', torch.nn.Linear(2, 2));"
        "t.add_scalar('a', 1); t.save(); t.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "run")],
        env=os.environ | {variable: "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "a = 1" not in done.stdout
    assert not (tmp_path / "run").exists()
    said = f"{tmp_path / 'run'}: this process records nothing, since {variable}=1"
    assert f"{level} delve: {said}" in done.stderr


BEFORE_THE_GROUP = """
def made(folder, **environment):
    for name in ("RANK", "LOCAL_RANK", "GROUP_RANK"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    tracker = SaturationTracker(folder, Saying(), model, stats=["n"])
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    init()
    return tracker
def epochs(tracker):
    for _ in range(2):
        model(torch.randn(10, 6))
        tracker.add_saturations()
    tracker.close()
"""

CASES = {
    "by the launcher": "made(folder, LOCAL_RANK=str(rank))",
    "each for itself": "made(folder.parent / str(rank))",
    "the wrong one": "made(folder, LOCAL_RANK=str(1 - rank))",
}


@pytest.mark.parametrize("case", CASES)
def test_trackers_made_before_the_group_write_once(tmp_path, case):
    done = run_ranks(tmp_path, BEFORE_THE_GROUP, f"epochs({CASES[case]})", has_group=False)
    assert done.returncode == 0, done.stderr
    row = '{"train-samples/0": 20.0, "train-samples/2": 20.0}'
    assert lines_of(done, "ROW") == [f"ROW 0 {row}", f"ROW 1 {row}"]
    told = "of rank 1, records no more" in done.stderr
    assert told is (case == "each for itself")


def test_where_none_would_write_all_are_told(tmp_path):
    body = """
        try:
            epochs(made(folder, LOCAL_RANK="1"))
        except Exception as error:
            say("FOUND", type(error).__name__, error)
    """
    done = run_ranks(tmp_path, BEFORE_THE_GROUP, body, has_group=False)
    assert done.returncode == 0, done.stderr
    found = lines_of(done, "FOUND")
    assert len(found) == 2
    assert all("no process of this training records it" in line for line in found)
