import shutil
import sys

import pytest
from delve_mlflow import MLflowWriter

from delve.testing import WriterContract, run_id

# MLflow 3.17 with SQLAlchemy 2.1: nothing that a writer could mend.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """Creating MLflow's tables takes seconds, copying the file does not."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


class TestMLflowWriter(WriterContract):
    entry_point = "mlflow"

    @pytest.fixture(autouse=True)
    def store(self, empty_store, tmp_path, monkeypatch):
        for variable in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
            monkeypatch.delenv(variable, raising=False)
        shutil.copy(empty_store, tmp_path / "mlflow.db")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")

    def make_writer(self, folder):
        return MLflowWriter(folder)

    def read_scalars(self, folder):
        from mlflow import MlflowClient

        client = MlflowClient()
        runs = client.search_runs(["0"], f"tags.`delve.run_id` = '{run_id(folder)}'")
        in_force = [run for run in runs if "delve.superseded_by" not in run.data.tags]
        for run in in_force:
            for key in run.data.metrics:
                for point in client.get_metric_history(run.info.run_id, key):
                    yield point.step, key, point.value

    def stored(self, value):
        """MLflow has no infinities."""
        return max(-sys.float_info.max, min(value, sys.float_info.max)) if value == value else value
