"""A training that is broken off and resumed ends as one that was not, for every objective, to the bit."""

from types import SimpleNamespace

import pytest
import torch

import passion
from benchmark.config.run_config import RunConfig, TrainConfig
from benchmark.run_folder.checkpoint import load_checkpoint
from benchmark.run_folder.checkpoint_schedule import AUTOMATIC, Cadence
from benchmark.run_folder.folder import RunFolder
from benchmark.run_folder.reasons import Pruned
from benchmark.training import train as training
from benchmark.training.train import Training, Validation
from passion import OBJECTIVES
from passion.check import equal_states
from tests.tiny_networks import trained_by

EPOCHS = 3


class SmallLoader:
    """Two batches of two slices, another each epoch, of which the cases lack modalities."""

    modalities = ("one", "two", "three")
    wait = 0.0

    def __len__(self):
        return 2

    def cases_in(self, step):
        return 2

    def batches(self, epoch, first_step, subset):
        for step in range(first_step, 2):
            generator = torch.Generator().manual_seed(10 * epoch + step)
            present = torch.rand(2, 3, generator=generator) > 0.4
            present[:, (epoch + step) % 3] = True
            batch = SimpleNamespace(
                volumes=torch.randn(2, 3, 16, 16, 1, generator=generator),
                available=present,
                present=present,
                target=torch.randint(0, 3, (2, 16, 16, 1), generator=generator),
                cases=["a", "b"],
            )
            batch.to = lambda device, batch=batch: batch
            yield batch


def small_network(seed, objective="passion"):
    torch.manual_seed(seed)
    return trained_by(objective, 3, 3, spatial_dims=2)


def run(name, folder, stop_after=None, stop=lambda: False, validation=None, cadence=AUTOMATIC, **train):
    """Train, or go on training; return the weights, what the objective learnt, and the log."""
    train = {"epochs": EPOCHS, "lr": 0.01, **train}
    config = RunConfig.model_validate({"objective": {"name": name}, "train": train})
    facts = {"counts": [4, 4, 4], "cases": 6, "batch_size": 2, "teacher": small_network(7), "epochs": EPOCHS}
    facts["subsets"] = [(True, True, False), (True, False, True), (False, True, True)]
    objective = passion.create(config.objective, 3, 3, **facts)
    net = small_network(1, name)

    def leave(line):
        if line["epoch"] == stop_after:
            raise KeyboardInterrupt

    made = Training(config, net, objective, SmallLoader(), torch.device("cpu"))
    training.train(made, folder, validation, leave, stop, cadence)
    log = [{k: v for k, v in line.items() if k != "timing"} for line in folder.log()]
    return net.state_dict(), objective.state_dict(), log


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_resuming_changes_nothing(name, tmp_path):
    whole, broken = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "broken")
    for folder in (whole, broken):
        folder.write_config({})
    weights, learnt, log = run(name, whole)
    with pytest.raises(KeyboardInterrupt):
        run(name, broken, stop_after=2, cadence=Cadence(seconds=-1.0))
    resumed_weights, resumed_learnt, resumed_log = run(name, broken)
    assert all(value.equal(resumed_weights[key]) for key, value in weights.items())
    assert equal_states(learnt, resumed_learnt)
    assert log == resumed_log
    assert len(log) == EPOCHS


@pytest.mark.parametrize(
    ("name", "train"),
    [
        *((name, {}) for name in ("baseline", "passion", "gradnorm", "hga")),
        ("uncertainty", {"optimiser": "sgd", "schedule": "constant"}),
        ("baseline", {"optimiser": "radam", "schedule": "cosine"}),
        ("baseline", {"optimiser": "adam", "amsgrad": False}),
    ],
)
def test_resuming_within_an_epoch_changes_nothing(name, train, tmp_path):
    whole, broken = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "broken")
    for folder in (whole, broken):
        folder.write_config({})
    weights, learnt, log = run(name, whole, **train)
    asked = iter(range(1, 100))
    for _ in range(3):  # after the steps 1, 2 (the last of its epoch) and 3, whose checkpoint gets lost
        with pytest.raises(KeyboardInterrupt):
            run(name, broken, stop=lambda: bool(next(asked)), **train)
    (broken.path / "checkpoint.pt").unlink()
    assert load_checkpoint(broken, torch.device("cpu"))["progress"]["step"] == 2
    resumed_weights, resumed_learnt, resumed_log = run(name, broken, **train)
    assert all(value.equal(resumed_weights[key]) for key, value in weights.items())
    assert equal_states(learnt, resumed_learnt)
    assert log == resumed_log


def test_looking_at_a_training_or_giving_it_up_on_the_way_changes_nothing(tmp_path):
    whole, looked_at = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "looked_at")
    for folder in (whole, looked_at):
        folder.write_config({})
    weights, learnt, _ = run("passion", whole)
    scores = iter([0.3, 0.2])
    asked = []

    def hopeless(epochs, score):
        asked.append((epochs, score))
        return epochs == 2

    with pytest.raises(Pruned, match=r"after 2 epochs, at 0\.2000"):
        run("passion", looked_at, validation=Validation(lambda: next(scores), 1, hopeless=hopeless))
    assert asked == [(1, 0.3), (2, 0.2)]
    assert [line["validation"] for line in looked_at.log()] == [0.3, 0.2]
    resumed_weights, resumed_learnt, log = run("passion", looked_at)
    assert all(value.equal(resumed_weights[key]) for key, value in weights.items())
    assert equal_states(learnt, resumed_learnt)
    assert "validation" not in log[2]


def test_the_best_look_is_kept(tmp_path):
    folders = [RunFolder(tmp_path / name) for name in ("first", "last")]
    for folder in folders:
        folder.write_config({})
    scores = iter([0.9, 0.1, 0.2])
    kept, *_ = run("baseline", folders[0], validation=Validation(lambda: next(scores), 1, keep_best=True))
    last, *_ = run("baseline", folders[1])
    assert not all(value.equal(last[key]) for key, value in kept.items())


EVERY_STEP = [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0)]


@pytest.mark.parametrize(
    ("cadence", "expected"),
    [
        (Cadence(seconds=-1.0), EVERY_STEP),
        (AUTOMATIC, [(3, 0)]),
        (Cadence(epochs=1), [(1, 0), (2, 0), (3, 0)]),
        (Cadence(seconds=600.0, epochs=2), [(2, 0), (3, 0)]),
    ],
)
def test_checkpoints_are_written_when_they_are_due_and_at_the_end(cadence, expected, tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    folder.write_config({})
    places, save = [], training.save_checkpoint

    def note(folder, content):
        places.append((content["epoch"], content["progress"]["step"]))
        save(folder, content)

    monkeypatch.setattr(training, "save_checkpoint", note)
    run("baseline", folder, cadence=cadence)
    assert places == expected


def test_a_checkpoint_of_another_device_goes_on_with_this_device_s_kernel(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    folder.write_config({})
    with pytest.raises(KeyboardInterrupt):
        run("uncertainty", folder, stop_after=1, cadence=Cadence(seconds=-1.0))

    def of_a_gpu(*place):
        checkpoint = load_checkpoint(*place)
        for group in checkpoint["optimiser"]["param_groups"]:
            group["fused"] = True
        return checkpoint

    monkeypatch.setattr(training, "load_checkpoint", of_a_gpu)
    run("uncertainty", folder)
    groups = load_checkpoint(folder, torch.device("cpu"))["optimiser"]["param_groups"]
    assert [group["fused"] for group in groups] == [False, False]


@pytest.mark.parametrize("name", ["uncertainty", "gradnorm"])
def test_what_an_objective_learns_is_optimised_without_decay(name, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.write_config({})
    _, learnt, log = run(name, folder)
    parameter = learnt[{"uncertainty": "log_variance", "gradnorm": "theta"}[name]]
    assert (parameter != 0).all()
    assert {"weight"} <= log[-1]["modality"]["one"].keys()
    checkpoint = load_checkpoint(folder, torch.device("cpu"))
    groups = checkpoint["optimiser"]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [1e-4, 0.0]
    assert groups[0]["lr"] == groups[1]["lr"]


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("poly", [2e-4, 0.00010718, 1.18e-6]),  # of the released scheduler, which rounds to 8 digits
        ("constant", [2e-4, 2e-4, 2e-4]),
        ("cosine", [2e-4, 1e-4, 5.4831e-9]),
    ],
)
def test_learning_rates(schedule, rates):
    train = TrainConfig(lr=2e-4, epochs=300, schedule=schedule)
    assert [training.learning_rate(train, epoch) for epoch in (0, 150, 299)] == pytest.approx(rates, rel=1e-4)


def test_an_optimiser_is_as_its_recipe_says():
    def made(**train):
        net, config = small_network(1), RunConfig.model_validate({"train": {"weight_decay": 0.5, **train}})
        objective = passion.create("baseline", 3, 3)
        return training.make_optimiser(config, net, objective, torch.device("cpu"))

    (sgd,) = made(optimiser="sgd", lr=0.1).param_groups
    assert (sgd["momentum"], sgd["nesterov"], sgd["weight_decay"], sgd["lr"]) == (0.99, True, 0.5, 0.1)
    kinds = {name: type(made(optimiser=name)) for name in ("adamw", "adam", "radam")}
    assert kinds == {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "radam": torch.optim.RAdam}
    assert [made(**train).param_groups[0]["amsgrad"] for train in ({}, {"amsgrad": False})] == [True, False]


def test_what_is_frozen_is_no_part_of_the_optimiser_and_an_image_learns_at_its_own_rate():
    def made(stage):
        net = small_network(1, "mae")
        net.begin(stage)
        config = RunConfig.model_validate({"train": {"lr": 0.03}})
        return net, training.make_optimiser(
            config, net, passion.create("baseline", 3, 3), torch.device("cpu")
        )

    net, optimiser = made("finetuning")
    (group,) = optimiser.param_groups
    assert {id(p) for p in group["params"]} == {id(p) for p in net.parameters() if p.requires_grad}
    before = net.image.detach().clone()
    training.fill_gradients(optimiser)
    optimiser.step()
    assert torch.equal(net.image, before)  # weight decay too leaves it alone
    net, optimiser = made("pretraining")
    usual, image = optimiser.param_groups
    assert image["params"] == [net.image]
    assert image["factor"] == pytest.approx(5e-3 / 3e-4)
    assert not any(p is net.image for p in usual["params"])


def test_a_rate_of_its_own_follows_the_schedule(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.write_config({})
    config = RunConfig.model_validate({"objective": "mae", "train": {"epochs": 2, "lr": 0.03}})
    objective = passion.create(config.objective, 3, 3)
    made = Training(config, small_network(1, "mae"), objective, SmallLoader(), torch.device("cpu"))
    training.train(made, folder)
    usual, image = (group["lr"] for group in made.optimiser.param_groups)
    assert image / usual == pytest.approx(5e-3 / 3e-4)
    assert usual == pytest.approx(training.learning_rate(config.train, 1))
