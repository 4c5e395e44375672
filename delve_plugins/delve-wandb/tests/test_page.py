"""Where a person looks at a run in W&B."""

from wandb_files import recorded_id

from delve.journal import Page, run_pages
from delve.testing import train


def test_a_run_that_is_online_names_its_page(tmp_path, server):
    train(tmp_path, "wandb", range(1))
    (page,) = run_pages(tmp_path).values()
    assert page == Page(page.url)
    assert page.url.startswith(server.url)
    assert page.url.endswith(f"/tests/runs/{recorded_id(tmp_path)}")


def test_one_that_is_offline_has_none_and_none_is_asked_for(tmp_path, capfd, monkeypatch):
    monkeypatch.delenv("WANDB_SILENT")
    train(tmp_path, "wandb", range(1))
    assert run_pages(tmp_path) == {}
    assert "URL not available" not in "".join(capfd.readouterr())
