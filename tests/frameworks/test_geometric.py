"""Graph networks of torch_geometric, whose linear layers are of types of its own."""

import numpy as np
import pytest
import torch
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker

geometric = pytest.importorskip("torch_geometric.nn")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

NODES = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
EDGES = torch.randint(0, 20, (2, 60), generator=torch.Generator().manual_seed(0))


class Graph(nn.Module):
    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, nodes, edges):
        return self.second(torch.relu(self.first(nodes, edges)), edges)


def recorded(folder, model, *inputs):
    writer = Recorder()
    with SaturationTracker(folder, writer, model, stats=["n", "trc"]) as tracker:
        model(*inputs)
        tracker.add_saturations()
    return writer.rows[0]


def trace(rows):
    return pytest.approx(np.cov(rows, rowvar=False, bias=True).trace(), rel=1e-4)


def test_convolutions_on_graphs_are_tracked_by_their_linear_layers(tmp_path, caplog):
    torch.manual_seed(0)
    model = Graph(geometric.GCNConv(6, 8), geometric.SAGEConv(8, 3))
    row = recorded(tmp_path, model, NODES, EDGES)
    expected = NODES.double() @ model.first.lin.weight.detach().double().T
    assert row["train-covariance-trace/first.lin"] == trace(expected.numpy())
    assert {key.partition("/")[2] for key in row} == {"first.lin", "second.lin_l", "second.lin_r"}
    assert "not tracked" not in caplog.text


def test_a_layer_that_learns_its_width_from_the_data(tmp_path):
    torch.manual_seed(0)
    model = Graph(geometric.GATConv(-1, 4, heads=2), geometric.GraphConv(-1, 3))
    row = recorded(tmp_path, model, NODES, EDGES)
    expected = NODES.double() @ model.first.lin.weight.detach().double().T
    assert row["train-covariance-trace/first.lin"] == trace(expected.numpy())
    assert row["train-samples/second.lin_rel"] == 20


def test_a_linear_layer_for_each_type_of_node(tmp_path):
    torch.manual_seed(0)
    layer = geometric.HeteroLinear(6, 5, num_types=2)
    types = (torch.arange(20) >= 12).long()
    row = recorded(tmp_path, layer, NODES, types)
    weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
    expected = torch.stack(
        [x @ weight[t] + bias[t] for x, t in zip(NODES.double(), types, strict=True)]
    )
    assert row["train-covariance-trace/HeteroLinear-0"] == trace(expected.numpy())


def test_what_has_weights_of_its_own_is_named(tmp_path, caplog):
    class Relations(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = geometric.RGCNConv(6, 5, num_relations=2)
            self.head = nn.Linear(5, 3)

        def forward(self, nodes, edges, kinds):
            return self.head(self.conv(nodes, edges, kinds))

    recorded(tmp_path, Relations(), NODES, EDGES, torch.arange(60) % 2)
    share = 100 * 3 * 30 / (3 * 30 + 15)
    assert (
        f"not tracked: 1 RGCNConv of 2 weight layers, with {share:.1f} % of the weights (conv)"
        in (caplog.text)
    )
