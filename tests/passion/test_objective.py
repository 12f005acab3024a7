"""What every objective promises, and what PASSION and the baseline add up, on a network of a few weights."""

import copy
import subprocess
import sys

import pytest
import torch
from tiny_backbone import EarlyFusion, TinyBackbone, TinyBatch, create, tiny_batch
from torch import Tensor

from bench_errors import InputError
from passion.check import equal_states
from passion.objective import Losses
from passion.options import POLICIES
from passion.self_distillation import Passion
from tests.tiny_networks import SEGMENTING

OF_ONE_POLICY = ("moddrop", "hga")
NAME_AND_POLICY = [
    *((name, {"policy": p}) for name in SEGMENTING if name not in OF_ONE_POLICY for p in POLICIES),
    *((name, {}) for name in OF_ONE_POLICY),
]
PER_MODALITY = ("sep", "kl", "proto", "distance", "preference")


def network(classes: int = 4) -> TinyBackbone:
    return TinyBackbone(classes=classes).double()


def complete(batch: TinyBatch) -> TinyBatch:
    """Fill what the drawn subset does not show, as in `pdt`."""
    return TinyBatch(batch.volumes.nan_to_num(0.5), batch.present, batch.target, batch.cases)


def weighted(
    losses: Losses, beta: Tensor | float = 1.0, w: Tensor | float = 1.0, paper: bool = False
) -> Tensor:
    t = losses.terms
    delta = (t["preference"] < 0).double()
    sep = (1.0 if paper else delta) * beta * w * t["sep"]
    return t["fuse"] + t["prm"] + (sep + 0.5 * beta * w * t["kl"] + 0.1 * delta * w * t["proto"]).sum()


def test_importing_the_room_does_not_import_torch() -> None:
    code = "import sys, passion; assert 'torch' not in sys.modules; print(list(passion.OBJECTIVES))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "passion" in out


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("pasion", {}, "did you mean passion"),
        ("passion", {"policy": "itd"}, "policy: expected 'idt', 'idt_drop' or 'pdt', found 'itd'"),
        ("passion", {"variant": "papre"}, "'released' or 'paper'"),
        ("pmr", {"aplha": 2}, "objective pmr: aplha: no such option here, did you mean alpha"),
        ("passion", {"pixel": False, "lambda1": 2}, "objective passion: lambda1 has no effect: pixel is off"),
        ("kd", {"teacher_data": "none"}, "'imperfect' or 'complete'"),
    ],
)
def test_wrong_names_and_options_are_named(name: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        create(name, **options)


def test_options_are_given_once() -> None:
    options = Passion.Options(name="passion", tau=2)
    assert create(options).options is options
    with pytest.raises(TypeError, match="tau: the options of passion are given already"):
        create(options, tau=3)


@pytest.mark.parametrize(("name", "options"), NAME_AND_POLICY)
def test_a_batch_is_the_sum_of_its_cases(name: str, options: dict[str, str]) -> None:
    net, batch = network(), tiny_batch("1010", "0100", "1111")
    if options == {"policy": "pdt"}:
        batch = complete(batch)
    objective = create(name, **options)
    together = objective.loss(net, batch)
    singles = [objective.loss(net, batch.item(b)) for b in range(3)]
    torch.testing.assert_close(together.total, sum(s.total for s in singles))
    for term, value in together.terms.items():
        torch.testing.assert_close(value, sum(s.terms[term] for s in singles))


@pytest.mark.parametrize("name", SEGMENTING)
@pytest.mark.parametrize("subsets", [("0010",), ("0100", "0100"), ("0001", "1000"), ("1111",)])
@pytest.mark.parametrize("warmup_epochs", [0, 1])
def test_losses_and_gradients_are_finite(name: str, subsets: tuple[str, ...], warmup_epochs: int) -> None:
    net, batch = network(), tiny_batch(*subsets, classes=2)  # two of the four classes never occur
    losses = create(name, warmup_epochs=warmup_epochs).loss(net, batch)
    losses.total.backward()
    assert losses.total.isfinite()
    assert all(value.isfinite().all() for value in losses.terms.values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_absent_modalities_have_no_terms_and_terms_are_detached() -> None:
    losses = create().loss(network(), tiny_batch("1010"))
    for term in PER_MODALITY:
        assert losses.terms[term].shape == (4,)
        assert losses.terms[term][[1, 3]].tolist() == [0, 0]
        assert (losses.terms[term][[0, 2]] != 0).all()
    assert losses.terms["fuse"].shape == losses.terms["prm"].shape == ()
    assert losses.total.requires_grad
    assert not any(value.requires_grad for value in losses.terms.values())


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_the_total_weighs_the_terms(variant: str) -> None:
    objective = create(variant=variant, counts=[16, 8, 4, 2], cases=20, batch_size=1)
    assert isinstance(objective, Passion)
    objective.balance.beta = torch.tensor([0.5, 1.0, 1.2, 0.8], dtype=torch.float64)
    losses = objective.loss(network(), tiny_batch("1111"))
    w = 20 / torch.tensor([16.0, 8, 4, 2]).double()
    torch.testing.assert_close(losses.total, weighted(losses, objective.beta, w, paper=variant == "paper"))


def test_released_weights_count_steps_and_paper_weights_count_cases() -> None:
    facts = {"counts": [10, 5, 1, 0], "cases": 10, "batch_size": 4}
    released, paper, pdt = create(**facts), create(variant="paper", **facts), create(policy="pdt", **facts)
    for objective, expected in ((released, [0.3, 0.6, 3]), (paper, [1, 2, 10]), (pdt, [1, 1, 1])):
        assert isinstance(objective, Passion)
        torch.testing.assert_close(objective.weights[:3], torch.tensor(expected, dtype=torch.float64))
        assert objective.weights.isfinite().all()


def test_a_lone_modality_is_its_own_teacher() -> None:
    net, batch = network(), tiny_batch("0010")
    losses = create().loss(net, batch)
    assert net.fused_rows == [1]
    for term in ("kl", "proto", "distance", "preference"):
        assert losses.terms[term].tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(losses.total, losses.terms["fuse"] + losses.terms["prm"])
    paper = create(variant="paper").loss(net, batch)
    torch.testing.assert_close(paper.total, losses.total + losses.terms["sep"].sum())


def test_with_dropout_a_lone_modality_differs_from_its_teacher_as_released() -> None:
    net, batch = TinyBackbone(dropout=0.5).double(), tiny_batch("0010")
    objective = create()
    t = (losses := objective.loss(net.train(), batch)).terms
    for term in ("kl", "proto", "distance"):
        assert (t[term] != 0).tolist() == [False, False, True, False]
    assert t["preference"].tolist() == [0, 0, 0, 0]  # of one distance, which is the mean
    torch.testing.assert_close(losses.total, t["fuse"] + t["prm"] + 0.5 * t["kl"].sum())
    changed = objective.end_epoch()
    assert changed is not None
    assert changed["distance"] == pytest.approx(t["distance"].tolist())
    create(variant="paper").loss(net, batch)
    create().loss(net.eval(), batch)
    create().loss(TinyBackbone(dropout=0.0).double().train(), batch)
    assert net.fused_rows == [2, 1, 1]


def test_teachers_and_students_of_a_batch_are_one_fuse() -> None:
    net = network()
    create().loss(net, tiny_batch("1010", "0100", "1111"))
    assert net.fused_rows == [3 + 2 + 0 + 4]
    create(policy="pdt").loss(net, complete(tiny_batch("1010", "0100")))
    assert net.fused_rows[1:] == [2 + 4 + 3]


def test_students_of_complete_data_learn_from_what_the_teacher_does_not_see() -> None:
    net, batch = network(), complete(tiny_batch("1000"))
    losses = create(policy="pdt").loss(net, batch)
    for term in ("kl", "proto", "distance"):
        assert losses.terms[term][0] == 0
        assert (losses.terms[term][1:] > 0).all()
    assert losses.terms["preference"][0] == 1
    assert losses.terms["preference"].sum().item() == pytest.approx(0, abs=1e-12)
    assert (losses.terms["sep"] > 0).all()
    torch.testing.assert_close(losses.total, weighted(losses))


def test_no_gradient_reaches_the_teacher_through_the_distillation() -> None:
    net, batch = network(), tiny_batch("1100")
    with_kl = create(lambda1=1e6, lambda2=0.0).loss(net, batch)
    without = create(lambda1=0.0, lambda2=0.0).loss(net, batch)
    head = net.head.bias
    difference = (with_kl.total - without.total) / 1e6
    (gradient,) = torch.autograd.grad(difference, head)
    assert gradient.abs().max() > 0
    # A student equal to its teacher has nothing to learn: were the teacher moved, this would not be zero.
    for encoder in net.encoders[1:]:
        encoder.load_state_dict(net.encoders[0].state_dict())
    same = TinyBatch(batch.volumes[:, :1].expand(-1, 4, -1, -1, -1), batch.present, batch.target, batch.cases)
    losses = create().loss(net, same)
    torch.testing.assert_close(losses.terms["kl"], torch.zeros(4).double())


@pytest.mark.parametrize(("policy", "modalities"), [("idt", 2), ("idt_drop", 2), ("pdt", 4)])
def test_the_baseline_adds_up_its_terms(policy: str, modalities: int) -> None:
    net, batch = network(), complete(tiny_batch("1010"))
    losses = create("baseline", policy=policy).loss(net, batch)
    assert (losses.terms["sep"] > 0).sum() == modalities
    torch.testing.assert_close(
        losses.total, losses.terms["fuse"] + losses.terms["prm"] + losses.terms["sep"].sum()
    )


@pytest.mark.parametrize("name", SEGMENTING)
def test_the_warm_up_is_the_uni_modal_loss_alone(name: str) -> None:
    net, batch = network(), tiny_batch("1010")
    objective = create(name, warmup_epochs=1)
    losses = objective.loss(net, batch)
    assert net.fused_rows == []
    torch.testing.assert_close(losses.total, losses.terms["sep"].sum())
    assert sum(value.abs().sum() for term, value in losses.terms.items() if term != "sep") == 0
    assert objective.end_epoch() is None
    after = objective.loss(net, batch)
    assert after.terms["fuse"] > 0
    torch.testing.assert_close(after.terms["sep"], losses.terms["sep"])


@pytest.mark.parametrize("name", SEGMENTING)
@pytest.mark.parametrize("training", [True, False])
def test_evaluating_changes_neither_mode_nor_state(name: str, training: bool) -> None:
    net, objective, batch = network().train(training), create(name), tiny_batch("1110")
    with torch.no_grad():
        losses = objective.loss(net, batch)
    assert net.training is training
    torch.testing.assert_close(losses.total, objective.loss(net, batch).total.detach())
    fresh = create(name)
    with torch.no_grad():
        fresh.loss(net, batch)
    assert equal_states(fresh.state_dict(), create(name).state_dict())


def test_training_moves_beta_towards_the_modality_that_lags() -> None:
    objective, net = create(counts=[1, 1, 1, 1], cases=1), network()
    losses = objective.loss(net, tiny_batch("1111"))
    changed = objective.end_epoch()
    assert changed is not None
    assert changed["distance"] == pytest.approx(losses.terms["distance"].tolist())
    assert changed["preference"] == pytest.approx(losses.terms["preference"].tolist())
    order = torch.tensor(changed["beta"]).argsort()
    assert order.equal(losses.terms["distance"].argsort())


@pytest.mark.parametrize(("variant", "times"), [("released", 2), ("paper", 1)])
def test_lone_cases_enter_the_mean_distance_only_as_released(variant: str, times: int) -> None:
    objective, net = create(variant=variant), network()
    first = objective.loss(net, tiny_batch("1100")).terms["distance"][0]
    objective.loss(net, tiny_batch("1000"))
    changed = objective.end_epoch()
    assert changed is not None
    assert changed["distance"][0] == pytest.approx(first.item() / times)


@pytest.mark.parametrize("policy", ["idt", "idt_drop"])
def test_an_epoch_s_distance_is_a_mean_over_the_times_that_a_modality_was_seen(policy: str) -> None:
    objective = create(policy=policy, counts=[10, 10, 10, 10], cases=10)
    first = objective.loss(network(), tiny_batch("1100")).terms["distance"][0]
    changed = objective.end_epoch()
    assert changed is not None
    assert changed["distance"][0] == pytest.approx(first.item())


@pytest.mark.parametrize("name", SEGMENTING)
def test_a_restored_objective_goes_on_alike(name: str) -> None:
    net, objective = network(), create(name, warmup_epochs=1)
    objective.end_epoch()
    objective.loss(net, tiny_batch("1110"))
    restored = create(name, warmup_epochs=1)
    restored.load_state_dict(copy.deepcopy(objective.state_dict()))
    for one in (objective, restored):
        one.loss(net, tiny_batch("0111", seed=2))
    assert objective.end_epoch() == restored.end_epoch()
    assert equal_states(objective.state_dict(), restored.state_dict())


@pytest.mark.parametrize("name", SEGMENTING)
def test_reduced_precision_networks_have_losses_in_single_precision(name: str) -> None:
    net, batch = TinyBackbone(), tiny_batch("1100")
    batch.volumes = batch.volumes.float()
    exact = create(name, teacher=TinyBackbone()).loss(net, batch).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = create(name, teacher=TinyBackbone()).loss(net, batch).total
    assert reduced.dtype == torch.float32
    torch.testing.assert_close(reduced, exact, rtol=0.02, atol=0)


@pytest.mark.parametrize("name", SEGMENTING)
def test_a_case_without_modalities_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no modality present"):
        create(name).loss(network(), tiny_batch("1000", "0000"))


@pytest.mark.parametrize("name", SEGMENTING)
def test_a_network_without_auxiliary_decoder_is_trained_without_it(name: str) -> None:
    net = EarlyFusion().double()
    objective = create(name, teacher=EarlyFusion().double())
    losses = objective.loss(net, tiny_batch("1110", "0001"))
    objective.backward(losses, list(net.parameters()))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert losses.terms["fuse"] > 0
    assert losses.terms["prm"] == 0
    own_tasks = name in ("gss", "gradnorm", "dwa", "uncertainty", "pcgrad")
    assert (losses.terms["sep"] > 0).all() == own_tasks
    assert "no auxiliary decoder" in objective.left_out(net)
    assert objective.left_out(network()) == ""
    with pytest.raises(InputError, match="no auxiliary decoder to warm up"):
        create(name, teacher=EarlyFusion().double(), warmup_epochs=2).left_out(net)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({}, "decoder"),
        ({"pixel": False}, "; beta has nothing left to weight"),
        ({"semantic": False}, "; delta has nothing left to weight"),
        ({"semantic": False, "delta": False}, "decoder"),
    ],
)
def test_parts_without_effect_on_such_a_network_are_named(parts: dict[str, bool], says: str) -> None:
    assert create("passion", **parts).left_out(EarlyFusion().double()).endswith(says)


def test_passion_of_which_such_a_network_leaves_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="nothing of PASSION is left, use objective baseline"):
        create("passion", pixel=False, semantic=False).left_out(EarlyFusion().double())


@pytest.mark.parametrize("preference", ["prototype", "dice", "kl"])
def test_the_parts_switch_off_one_by_one(preference: str) -> None:
    net, batch = network(), tiny_batch("1110")
    whole = create(preference=preference).loss(net, batch)
    t = whole.terms
    torch.testing.assert_close(whole.total, weighted(whole))
    assert (t["distance"][:3] > 0).all()
    assert t["preference"].sum().item() == pytest.approx(0, abs=1e-12)
    for part, term, share in (
        ("pixel", "kl", 0.5 * t["kl"].sum()),
        ("semantic", "proto", 0.1 * ((t["preference"] < 0) * t["proto"]).sum()),
    ):
        without = create(preference=preference, **{part: False}).loss(net, batch)
        torch.testing.assert_close(without.total, whole.total - share)
        assert without.terms[term].tolist() == [0, 0, 0, 0]
        torch.testing.assert_close(without.terms["preference"], t["preference"])
    ungated = create(preference=preference, delta=False).loss(net, batch)
    expected = t["fuse"] + t["prm"] + (t["sep"] + 0.5 * t["kl"] + 0.1 * t["proto"]).sum()
    torch.testing.assert_close(ungated.total, expected)


def test_without_beta_the_gradient_weights_stay_one() -> None:
    for beta, moves in ((True, True), (False, False)):
        objective = create(beta=beta)
        objective.loss(network(), tiny_batch("1111"))
        changed = objective.end_epoch()
        assert changed is not None
        assert (changed["beta"] != [1.0] * 4) == moves
        assert any(changed["preference"])


@pytest.mark.parametrize("warmup_epochs", [0, 1])
def test_what_is_not_measured_is_not_reported(warmup_epochs: int) -> None:
    objective = create(semantic=False, delta=False, beta=False, warmup_epochs=warmup_epochs)
    terms = objective.loss(network(), tiny_batch("1110")).terms
    assert terms.keys() == {"fuse", "prm", "sep", "kl", "proto"}
    assert objective.end_epoch() is None


def test_distances_agree_with_their_definitions() -> None:
    net, batch = network(), tiny_batch("1100")
    features = net.encode(batch.volumes, batch.present)
    eye = torch.eye(4, dtype=torch.bool)
    teacher, student = (
        net.fuse(features, s).logits.softmax(1)[0].flatten(1) for s in (batch.present, eye[:1])
    )
    dice = [2 * (p @ q) / (p @ p + q @ q) for p, q in zip(student, teacher, strict=True)]
    losses = create(preference="dice").loss(net, batch)
    torch.testing.assert_close(losses.terms["distance"][0], 1 - torch.stack(dice).mean())
    losses = create(preference="kl").loss(net, batch)
    torch.testing.assert_close(losses.terms["distance"], losses.terms["kl"])


def test_counts_need_the_number_of_cases() -> None:
    with pytest.raises(ValueError, match="counts needs"):
        create(counts=[1, 2, 3, 4])
