import torch

from benchmark.checkpoint import load_weights, save_weights
from benchmark.record import RunFolder


def test_weights_under_several_names_are_written_under_each(tmp_path):
    shared = torch.nn.Linear(2, 3)
    net = torch.nn.ModuleDict({"first": shared, "second": shared})
    save_weights(RunFolder(tmp_path), net.state_dict())
    loaded = load_weights(RunFolder(tmp_path))
    assert set(loaded) == {"first.weight", "first.bias", "second.weight", "second.bias"}
    assert all(torch.equal(loaded[name], value) for name, value in net.state_dict().items())
