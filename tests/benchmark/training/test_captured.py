"""Steps that are recorded and replayed train as those that are computed anew, for every objective that can.

A tape stands for a CUDA graph: it writes down each operation with its tensors, and does them again at the
same places of memory. What the host would decide anew is lost on it, as on a graph.
"""

from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import backbones
import passion
from backbones import BACKBONES
from backbones.contract import Backbone
from benchmark.config.run_config import RunConfig
from benchmark.training import train as training
from benchmark.training.captured import CapturedSteps, CudaRecorder
from benchmark.training.train import Training, gradients, why_not_captured
from datasets.batches.loader import LoadedBatch
from passion import OBJECTIVES
from passion.objective import Objective
from tests.passion.tiny_backbone import TinyBackbone
from tests.tiny_networks import tiny

CPU = torch.device("cpu")
MODALITIES, CLASSES, STEPS = 3, 3, 6
OBJECTIVES_THAT_CAN = [name for name in OBJECTIVES if OBJECTIVES.get(name).capturable]
NETWORKS_THAT_CAN = [name for name in BACKBONES if BACKBONES.get(name).capturable]


class Tape(TorchDispatchMode):
    """Writes down operations, and plays them."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        made = function(*arguments, **(keywords or {}))
        self.calls.append((function, arguments, keywords or {}, made))
        return made

    @torch.no_grad()
    def play(self):
        for function, arguments, keywords, made in self.calls:
            for old, new in zip(
                tree_leaves(made), tree_leaves(function(*arguments, **keywords)), strict=True
            ):
                if isinstance(old, torch.Tensor) and old.numel() and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class TapeRecorder:
    """Records tapes, as long as there is `left` room; writing one down does what it is of, once.

    `fails`: after how many tapes the next one cannot be written.
    """

    def __init__(self, left=100, fails=None):
        self.left, self.fails, self.replays = left, fails, 0

    def room(self):
        return self.left > 0

    def record(self, function):
        if self.fails is not None and not self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.left -= 1
        self.fails = None if self.fails is None else self.fails - 1
        done = []
        with Tape() as tape:
            made = function()

        def replay():
            self.replays += 1
            if done:
                tape.play()
            done.append(True)

        return replay, made


class Batches:
    """Epochs of steps that show two subsets of modalities in turn, each a batch of its own."""

    modalities = ("one", "two", "three")
    wait = 0.0

    def __init__(self, space, size=2):
        self.space, self.size = space, size

    def __len__(self):
        return STEPS

    def cases_in(self, step):
        return self.size

    def batches(self, epoch, first_step, subset):
        for step in range(first_step, STEPS):
            generator = torch.Generator().manual_seed(10 * epoch + step)
            present = torch.tensor([[True, True, step % 2 == 0], [False, True, step % 2 == 1]])[: self.size]
            volumes = torch.randn(self.size, MODALITIES, *self.space, generator=generator).double()
            target = torch.randint(0, CLASSES, (self.size, *self.space), generator=generator)
            names = [f"case {i}" for i in range(self.size)]
            yield LoadedBatch(volumes, present, present.clone(), target, names)


def trained(objective, network, space, recorder=None, epochs=2, graphs=9, size=2, **options):
    """Train in float64; return the weights, what the objective knows and the sums of the last epoch."""
    config = RunConfig.model_validate({"objective": objective, "train": {"lr": 0.01, "epochs": epochs}})
    net = network()
    made = passion.create(config.objective, MODALITIES, CLASSES, cases=6, batch_size=2, teacher=network())
    run = Training(config, net, made, Batches(space, size), CPU)
    if recorder:
        run.captured = CapturedSteps(partial(gradients, run, net, in_place=True), recorder, graphs)
    for _ in range(epochs):
        for _ in training.steps(run):
            pass
        totals = run.progress.totals
        training._end_epoch(run)
    return net.state_dict(), made.state_dict(), totals, run


def tiny_backbone(dropout=0.0):
    return TinyBackbone(MODALITIES, CLASSES, dropout).double()


def small_network(name):
    torch.manual_seed(1)
    crop = 16 if name in ("rfnet", "uhemis") else 32
    net = backbones.create(name, MODALITIES, CLASSES, crop=crop, spatial_dims=2, **tiny(name))
    return net.double()


@pytest.mark.parametrize("objective", OBJECTIVES_THAT_CAN)
def test_recorded_steps_train_alike(objective):
    recorder = TapeRecorder()
    *plain, _ = trained(objective, tiny_backbone, (6, 6, 6))
    *replayed, run = trained(objective, tiny_backbone, (6, 6, 6), recorder)
    assert run.captured.recorded == 2
    assert recorder.replays == 2 * STEPS - 2
    torch.testing.assert_close(replayed, plain, rtol=1e-9, atol=1e-11)


def test_recorded_dropout_is_drawn_anew_at_each_step():
    network = partial(tiny_backbone, 0.3)
    *plain, _ = trained("baseline", network, (6, 6, 6))
    *replayed, _ = trained("baseline", network, (6, 6, 6), TapeRecorder())
    torch.testing.assert_close(replayed, plain, rtol=1e-9, atol=1e-11)


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS_THAT_CAN)
def test_every_network_that_can_be_recorded_trains_alike(name):
    space = (16, 16, 1) if name in ("rfnet", "uhemis") else (32, 32, 1)
    arguments = "passion", partial(small_network, name), space
    *plain, _ = trained(*arguments, epochs=1, size=1)
    *replayed, run = trained(*arguments, TapeRecorder(), epochs=1, size=1)
    assert run.captured.recorded == 2
    torch.testing.assert_close(replayed, plain, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("recorder", "graphs", "recorded"),
    [
        (TapeRecorder(left=1), 9, 1),
        (TapeRecorder(), 1, 1),
        (TapeRecorder(fails=0), 9, 0),
        (TapeRecorder(fails=1), 9, 1),
    ],
)
def test_what_is_not_recorded_is_computed_as_always(recorder, graphs, recorded, capsys):
    *plain, _ = trained("passion", tiny_backbone, (6, 6, 6), epochs=1)
    broken = recorder.fails is not None
    *replayed, run = trained("passion", tiny_backbone, (6, 6, 6), recorder, 1, graphs)
    assert run.captured.recorded == recorded
    torch.testing.assert_close(replayed, plain, rtol=1e-9, atol=1e-11)
    assert capsys.readouterr().out.count("a step cannot be recorded") == broken
    if broken:
        assert recorder.replays == recorded, "what was recorded before is no longer replayed"


def test_a_capture_that_cuda_has_ended_leaves_its_stream(monkeypatch):
    """torch's own `graph` does not where ending the capture raises."""
    inside = []

    @contextmanager
    def stream(name):
        before = list(inside)
        try:
            yield
        finally:
            inside[:] = before

    @contextmanager
    def graph(_, pool):
        inside.append("the capture's stream")
        yield
        raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", SimpleNamespace)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "ours")
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    with pytest.raises(RuntimeError, match="during capture"):
        CudaRecorder().record(lambda: None)
    assert inside == []


def test_the_tape_loses_what_the_host_decides():
    """The stand-in is as strict as a graph: a branch on a value is taken as it was when it was recorded."""
    x = torch.tensor(1.0)
    replay, made = TapeRecorder().record(lambda: x * 2 if x > 0 else x * 3)
    replay()
    x.fill_(-1.0)
    replay()
    assert made.item() == -2.0


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in BACKBONES if BACKBONES.get(name).compiled])
def test_compiled_parts_compute_alike(name):
    plain, compiled = small_network(name).eval(), small_network(name).eval()
    training.compile_parts(compiled, backend="eager")
    edge = 16 if name == "rfnet" else 32
    x, there = torch.randn(1, MODALITIES, edge, edge, 1).double(), torch.ones(1, MODALITIES, dtype=torch.bool)
    torch.testing.assert_close(compiled(x, there), plain(x, there), rtol=1e-12, atol=1e-12)
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_compiling_is_part_of_a_runs_hash():
    plain, off, on = (
        RunConfig.model_validate({"train": train}) for train in ({}, {"compile": False}, {"compile": True})
    )
    assert plain.hash == off.hash != on.hash


def test_why_a_training_is_not_recorded():
    *_, run = trained("pcgrad", tiny_backbone, (6, 6, 6), epochs=1)
    assert why_not_captured(run) == "steps are recorded on CUDA alone"
    run.device = torch.device("cuda")
    assert why_not_captured(run) == "objective pcgrad cannot be recorded"
    assert not Objective.capturable
    assert not Backbone.capturable
