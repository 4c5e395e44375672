import pytest
from click.testing import CliRunner

from delve import load
from delve.cli.commands import main
from delve.errors import JournalError
from delve.journal import Page, run_pages
from delve.testing import train


class Remembering:
    """A writer that remembers something of a page."""

    def __init__(self, page):
        self.page = page

    def start(self, run):
        run.remember(page=self.page)

    def resume_from_saved_state(self, run):
        run.remember(page=self.page)


URL = "http://there/#/runs/a"
COMMAND = ["mlflow", "ui", "--of", "a folder"]


@pytest.mark.parametrize(
    ("remembered", "page", "told"),
    [
        ({"url": URL}, Page(URL), URL),
        ({"command": COMMAND}, Page("", tuple(COMMAND)), "`mlflow ui --of 'a folder'`"),
        (
            {"url": URL, "command": COMMAND},
            Page(URL, tuple(COMMAND)),
            f"`mlflow ui --of 'a folder'`, then open {URL}",
        ),
    ],
)
def test_a_page_is_told_by_the_command_the_loaded_run_and_at_the_end(
    tmp_path, caplog, remembered, page, told
):
    with caplog.at_level("INFO", "delve.delivery"):
        train(tmp_path, Remembering(remembered), range(1))
    assert [record.message for record in caplog.records] == [f"the run in Remembering: {told}"]
    assert run_pages(tmp_path) == load(tmp_path).pages == {"Remembering": page}
    said = CliRunner().invoke(main, ["writers", str(tmp_path)])
    assert (said.exit_code, said.stdout) == (0, f"Remembering: {told}\n")


@pytest.mark.parametrize(
    "remembered",
    [None, 3, [], {}, {"url": 3}, {"url": "", "command": []}, {"command": "rm -rf /"},
     {"command": [None]}, {"url": "http://" + "x" * 5000}, {"url": "javascript:x"},
     {"command": ["tool"]}, {"command": ["mlflow", "run", "a"], "url": URL}],
)  # fmt: skip
def test_a_page_of_no_known_form_is_passed_over(tmp_path, caplog, remembered):
    with caplog.at_level("INFO", "delve.delivery"):
        train(tmp_path, Remembering(remembered), range(1))
    assert run_pages(tmp_path) == {}
    assert caplog.text == ""
    said = CliRunner().invoke(main, ["writers", str(tmp_path)])
    assert (
        said.stdout == f"no writer has told where {tmp_path} is shown; delve show {tmp_path} "
        "shows it here\n"
    )


def test_the_last_word_counts(tmp_path):
    train(tmp_path, Remembering({"url": "http://before"}), range(1))
    train(tmp_path, Remembering({"url": URL}), range(1, 2))
    assert run_pages(tmp_path) == {"Remembering": Page(URL)}


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(JournalError, match=str(tmp_path)):
        run_pages(tmp_path)
    assert CliRunner().invoke(main, ["writers", str(tmp_path)]).exit_code != 0
