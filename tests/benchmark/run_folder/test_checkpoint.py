import pytest
import torch

from benchmark.run_folder.checkpoint import load_checkpoint, load_weights, save_checkpoint, save_weights
from benchmark.run_folder.folder import RunFolder


def test_weights_under_several_names_are_written_under_each(tmp_path):
    shared = torch.nn.Linear(2, 3)
    net = torch.nn.ModuleDict({"first": shared, "second": shared})
    save_weights(RunFolder(tmp_path), net.state_dict())
    loaded = load_weights(RunFolder(tmp_path))
    assert set(loaded) == {"first.weight", "first.bias", "second.weight", "second.bias"}
    assert all(torch.equal(loaded[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_previous_one(tmp_path, capsys, damage):
    folder, cpu = RunFolder(tmp_path), torch.device("cpu")
    assert load_checkpoint(folder, cpu) is None
    for epoch in (1, 2):
        save_checkpoint(folder, {"epoch": epoch, "weights": {"w": torch.full((4,), float(epoch))}})
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    assert load_checkpoint(folder, cpu)["epoch"] == 2
    if damage == "gone":  # killed between the two renames
        path.unlink()
    else:
        flipped = content[:200] + bytes([content[200] ^ 1]) + content[201:]
        path.write_bytes({"cut": content[:-9], "flip": flipped, "empty": b""}[damage])
    loaded = load_checkpoint(folder, cpu)
    assert loaded["epoch"] == 1
    assert torch.equal(loaded["weights"]["w"], torch.ones(4))
    assert ("is damaged" in capsys.readouterr().out) == (damage != "gone")
