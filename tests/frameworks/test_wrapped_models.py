"""Names of layers in models that trainers have wrapped."""

import logging

import pytest
import torch
from torch import distributed, nn

from delve.capture.coverage import tell
from delve.capture.layers import Selection, find_layers

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def network():
    return nn.Sequential(nn.Linear(2, 4), nn.Sequential(nn.Linear(4, 3)), nn.LSTM(3, 2))


def test_what_fabric_sets_up_has_the_names_of_the_model():
    lightning = pytest.importorskip("lightning")
    model = network()
    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    assert find_layers(fabric.setup(model)) == {"0": model[0], "1.0": model[1][0], "2": model[2]}


@pytest.fixture
def group(tmp_path):
    distributed.init_process_group("gloo", f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("use_orig_params", [True, False])
def test_what_is_sharded_has_the_names_of_the_model(caplog, use_orig_params):
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy

    caplog.set_level(logging.INFO, "delve")
    model = FullyShardedDataParallel(
        network(),
        auto_wrap_policy=ModuleWrapPolicy({nn.Linear}),
        use_orig_params=use_orig_params,
        device_id=torch.device("cpu"),
    )
    layers = find_layers(model)
    assert list(layers) == ["0", "1.0", "2"]
    tell(Selection(model), layers)
    assert "tracked: 2 Linear, 1 LSTM" in caplog.text
    assert ("%" in caplog.text) == use_orig_params  # else nothing tells whose a weight is
