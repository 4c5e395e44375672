"""Processes that do not come: gloo on this machine, started the way that torchrun does."""

import pytest
from support.ranks import lines_of, run_ranks

PATIENCE = "from delve.numerics import waiting; waiting.WARN_AFTER = 0.5\n"


def test_a_tracker_in_the_first_process_alone_says_for_whom_it_waits(tmp_path):
    body = """
        if rank == 0:
            try:
                SaturationTracker(folder, Saying(), model)
            except Exception as error:
                say("FOUND", type(error).__name__, error)
        assert threading.active_count() == threads
        dist.distributed_c10d._get_default_store().set(f"done/{rank}", "")
        dist.distributed_c10d._get_default_store().wait(["done/0", "done/1"], timedelta(seconds=60))
    """
    begin = "import threading; threads = threading.active_count()\n"
    done = run_ranks(tmp_path, PATIENCE + begin, body, timeout=2)
    assert done.returncode == 0, done.stderr
    warned = [line for line in done.stderr.splitlines() if "has waited" in line]
    assert len(warned) == 1
    assert warned[0].startswith("delve: SaturationTracker(): rank 0 has waited ")
    assert "for rank 1, which did not make this call" in warned[0]
    assert "`if rank == 0:`" in warned[0]
    (found,) = lines_of(done, "FOUND")
    assert "DelveError SaturationTracker(): rank 1 did not come within 2 s" in found


def test_add_saturations_in_one_process_alone_is_named_too(tmp_path):
    body = """
        tracker = SaturationTracker(folder, Saying(), model)
        model(torch.randn(20, 6))
        if rank == 1:
            try:
                tracker.add_saturations()
            except Exception as error:
                say("FOUND", type(error).__name__)
        store = dist.distributed_c10d._get_default_store()
        store.set(f"done/{rank}", "")
        store.wait(["done/0", "done/1"], timedelta(seconds=60))
        tracker.add_saturations()  # nothing that another would have had to take part in was begun
    """
    done = run_ranks(tmp_path, PATIENCE, body, timeout=2)
    assert done.returncode == 0, done.stderr
    assert "add_saturations(): rank 1 has waited" in done.stderr
    assert "for rank 0, which" in done.stderr
    assert lines_of(done, "FOUND") == ["FOUND DelveError"]
    assert len(lines_of(done, "ROW")) == 1


@pytest.mark.parametrize("slow", [0, 1])
def test_a_slow_process_is_named_once(tmp_path, slow):
    body = f"""
        import time
        with SaturationTracker(folder, Saying(), model) as tracker:
            for _ in range(3):
                model(torch.randn(20, 6))
                time.sleep(0.8 * (rank == {slow}))
                tracker.add_saturations()
    """
    done = run_ranks(tmp_path, PATIENCE, body)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("has waited") == 1
    assert len(lines_of(done, "ROW")) == 3


def test_processes_that_come_together_leave_nothing_in_the_store(tmp_path):
    body = """
        with SaturationTracker(folder, Saying(), model) as tracker:
            dist.barrier()
            store = dist.distributed_c10d._get_default_store()
            before = store.num_keys()
            for _ in range(20):
                model(torch.randn(20, 6))
                tracker.add_saturations()
            dist.barrier()
            say("KEYS", store.num_keys() - before)
            dist.barrier()
    """
    done = run_ranks(tmp_path, "", body)
    assert done.returncode == 0, done.stderr
    assert all(int(line.split()[1]) <= 3 for line in lines_of(done, "KEYS"))  # some are torch's
    assert "has waited" not in done.stderr
