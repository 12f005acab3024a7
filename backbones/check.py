"""Whether a network keeps the contract, found out on random volumes: what `bench check-backbone NAME` does.

    for line in check_backbone("my_package.my_net:MyNet", crop=32): print(line)

Each check yields a line when it has passed; the first that fails raises `InputError`, saying what is wrong
and what to do. A network that takes `spatial_dims` is checked on slices too. Shapes and gradients are checked
in float32, as in training. Two ways to one output are compared in float64, where rounding is no difference,
or in float32 where a network computes in nothing else.
"""

import copy
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

import backbones
from backbones.contract import Backbone, Fused
from bench_edges import space_of
from bench_errors import InputError

CLASSES = 3
TOLERANCE = 1e-6  # of the largest value: what float64 sums may differ by when they are batched otherwise
COARSE_TOLERANCE = 1e-3  # the same of float32


class CheckedNetwork(NamedTuple):
    """What a network is built for."""

    name: str
    modalities: int
    crop: int
    spatial_dims: int
    options: dict[str, Any]

    def build(self, seed: int = 0) -> Backbone:
        """Build the network with weights that depend on `seed`."""
        torch.manual_seed(seed)
        return backbones.create(
            self.name, self.modalities, CLASSES, self.crop, self.spatial_dims, **self.options
        )

    @property
    def space(self) -> tuple[int, int, int]:
        """Edges of its volumes in voxels."""
        return space_of(self.crop, self.spatial_dims)

    def __str__(self) -> str:
        kind = "volumes" if self.spatial_dims == 3 else "slices"
        return f"{kind} of {'x'.join(map(str, self.space))} voxels, {self.modalities} modalities"


def check_backbone(name: str, crop: int = 32, modalities: int = 3, **options: Any) -> Iterator[str]:
    """Check the backbone `name`, in 3-D and, where it takes `spatial_dims`, in 2-D.

    Args:
        name: a registered name, ``monai:<Name>`` or ``module:Class``.
        crop: edge of the test volumes in voxels.
        modalities: number of modalities.
        options: the network's own.

    Yields a line for each check that passed; raises `InputError` at the first that fails.
    """
    for spatial_dims in (3, 2):
        setting = CheckedNetwork(name, modalities, crop, spatial_dims, options)
        if spatial_dims == 2 and (reason := _refuses(setting)):
            yield f"for volumes only: {reason}"
            return
        with naming(f"{name}: built for {setting}"):
            net = setting.build()
        yield f"{setting}: built, {sum(p.numel() for p in net.parameters()):,} parameters"
        for check in CHECKS:
            title = (check.__doc__ or "").split("\n")[0].rstrip(".")
            with naming(f"{name}: {title} ({setting})"):
                note = check(net, setting)
            yield f"{setting}: {title[0].lower()}{title[1:]}{f' ({note})' if note else ''}"


def _refuses(setting: CheckedNetwork) -> str:
    """Why the network cannot be built in this setting, or the empty string."""
    try:
        setting.build()
    except InputError as error:
        return str(error)
    return ""


class Broken(Exception):
    """A promise of the contract that a network does not keep."""


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Turn whatever goes wrong into an `InputError` that says what was checked, and where code failed."""
    try:
        yield
    except InputError:
        raise
    except Broken as broken:
        raise InputError(f"{what}: {broken}") from None
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())
        raise InputError(
            f"{what}: {type(error).__name__} in {last.name}, {last.filename}:{last.lineno}: {text}"
        ) from None


def _volumes(setting: CheckedNetwork, batch: int = 3) -> tuple[Tensor, Tensor]:
    """Random volumes [B, M, *space], and what is there: all modalities; all but the first; the first only."""
    generator = torch.Generator().manual_seed(1)
    volumes = torch.randn(batch, setting.modalities, *setting.space, generator=generator)
    available = torch.ones(batch, setting.modalities, dtype=torch.bool)
    if setting.modalities > 1:
        available[1, 0] = False
        available[2, 1:] = False
    return volumes, available


def _precise(net: Backbone, setting: CheckedNetwork) -> tuple[Backbone, Tensor, Tensor]:
    """The network in evaluation mode, with `_volumes`: in float64 where it computes in that."""
    volumes, available = _volumes(setting)
    try:
        double = copy.deepcopy(net).double().eval()
        _outcome(double, volumes.double(), available)
    except RuntimeError:
        return net.eval(), volumes, available
    return double, volumes.double(), available


def _fused(fused: Fused) -> dict[str, Tensor]:
    sides = {f"side_logits[{i}]": side for i, side in enumerate(fused.side_logits)}
    return {"logits": fused.logits, "decoder_features": fused.decoder_features, **sides}


def _outcome(net: Backbone, volumes: Tensor, available: Tensor) -> dict[str, Tensor]:
    """Everything that a loss may be made of, by name, without gradient."""
    with torch.no_grad():
        features = net.encode(volumes, available)
        found = _fused(net.fuse(features, available))
        return found | ({"unimodal": net.unimodal(features)} if net.has_unimodal else {})


def check_shapes(net: Backbone, setting: CheckedNetwork) -> str:
    """Shapes are as promised, and all values are finite."""
    volumes, available = _volumes(setting)
    with torch.no_grad():
        levels = net.eval().encode(volumes, available).levels
    for i, level in enumerate(levels):
        _expect(f"levels[{i}]", level, [*available.shape, None, None, None, None], "[B, M, C, *space_l]")
    rows, space, channels = len(volumes), setting.space, net.heads.channels
    sides = []
    for training in (False, True):
        found = _outcome(net.train(training), volumes, available)
        sides.append(sum(name.startswith("side_logits") for name in found))
        for name, value in found.items():
            if name == "unimodal":
                _expect(name, value, [*available.shape, channels, *space], "[B, M, channels, *space]")
            elif name == "decoder_features":
                _expect(name, value, [rows, None, *space], "[K, C, *space]")
            elif name == "logits":
                _expect(name, value, [rows, channels, *space], "[K, channels, *space]")
            else:
                _expect(name, value, [rows, channels, None, None, None], "[K, channels, *space_l]")
            if not value.isfinite().all():
                raise Broken(f"{name} has values that are not finite")
    if net.has_unimodal and found["unimodal"][~available].any():
        raise Broken("unimodal is not zero where a modality is absent: use blocks.decode_packed")
    if sides[0] != sides[1]:
        raise Broken(
            f"there are {sides[0]} side outputs in evaluation, {sides[1]} in training: give all in both"
        )
    notes = [f"{sides[0]} side outputs"]
    if not net.has_unimodal:
        notes.append("no auxiliary decoder")
    if found["decoder_features"].data_ptr() == found["logits"].data_ptr():
        notes.append("the logits stand for the decoder features")
    return ", ".join(notes)


def _expect(name: str, value: Tensor, shape: list[int | None], text: str) -> None:
    """Compare the shape of `value`; None stands for any length."""
    fits = value.dim() == len(shape) and all(
        e in (None, found) for e, found in zip(shape, value.shape, strict=True)
    )
    if not fits:
        raise Broken(f"{name} has shape {tuple(value.shape)}, expected {text}: return it in that shape")


def check_gradients(net: Backbone, setting: CheckedNetwork) -> str:
    """Gradients are finite and reach every parameter."""
    volumes, available = _volumes(setting)
    net.train().zero_grad(set_to_none=True)
    features = net.encode(volumes, available)
    fused = net.fuse(features, available)
    outputs = [fused.logits, *fused.side_logits, *([net.unimodal(features)] if net.has_unimodal else [])]
    losses = [value.square().mean() for value in outputs]
    losses += [term.loss for term in net.auxiliary(features, fused, _batch(volumes, available)).values()]
    torch.stack(losses).sum().backward()
    for name, parameter in net.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise Broken(f"no gradient reaches {name}: use it, remove it, or set its requires_grad to False")
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            raise Broken(f"the gradient of {name} is not finite: look for a root or a quotient at zero")
    net.zero_grad(set_to_none=True)
    frozen = sum(not parameter.requires_grad for parameter in net.parameters())
    return f"{frozen} parameters are frozen" if frozen else ""


def _batch(volumes: Tensor, present: Tensor) -> SimpleNamespace:
    """What a network's own losses see: the fields of `passion.objective.Batch`."""
    target = torch.arange(volumes[:, 0].numel()).view(volumes[:, 0].shape) % CLASSES
    names = [f"case {b}" for b in range(len(volumes))]
    return SimpleNamespace(volumes=volumes, available=present, present=present, target=target, cases=names)


def check_auxiliary(net: Backbone, setting: CheckedNetwork) -> str:
    """Losses of its own are finite scalars, whatever absent channels hold."""
    volumes, available = _volumes(setting)
    batch = _batch(volumes.where(available[:, :, None, None, None], torch.nan), available)
    with torch.no_grad():
        features = net.eval().encode(batch.volumes, available)
        terms = net.auxiliary(features, net.fuse(features, available), batch)
    for name, term in terms.items():
        if term.loss.dim() or not term.loss.isfinite():
            raise Broken(f"{name} is {term.loss}, expected a finite scalar: leave absent channels out")
    return ", ".join(f"{name} at {term.weight:g}" for name, term in terms.items()) or "none"


def check_absent(net: Backbone, setting: CheckedNetwork) -> str:
    """Channels of absent modalities are ignored, whatever they hold."""
    volumes, available = _volumes(setting)
    expected = _outcome(net.eval(), volumes, available)
    for held in (0.0, 1e6, float("nan")):
        filled = torch.where(available[:, :, None, None, None], volumes, held)
        for name, value in _outcome(net, filled, available).items():
            if not torch.equal(value, expected[name]):
                raise Broken(
                    f"{name} changes when the channel of an absent modality holds {held:g}: leave such "
                    "channels out (contract.encode_packed) or select with torch.where, for 0 times NaN is NaN"
                )
    return ""


def check_rows(net: Backbone, setting: CheckedNetwork) -> str:
    """A batch of subsets equals one at a time."""
    net, volumes, _ = _precise(net, setting)
    codes = range(1, 2**setting.modalities)
    present = torch.tensor([[bool(code >> m & 1) for m in range(setting.modalities)] for code in codes])
    case = torch.arange(len(present)).flip(0) % len(volumes)
    everything = torch.ones(len(volumes), setting.modalities, dtype=torch.bool)
    with torch.no_grad():
        batched = _fused(net.fuse(net.encode(volumes, everything), present, case))
        for row, item in enumerate(case.tolist()):
            subset, volume = present[row : row + 1], volumes[item : item + 1]
            bits = "".join(str(int(there)) for there in subset[0])
            for name, alone in _fused(net.fuse(net.encode(volume, subset), subset)).items():
                if not _close(batched[name][row : row + 1], alone):
                    raise Broken(
                        f"{name} of subset {bits} as one of several rows is not that of the case encoded and "
                        "fused alone: let fuse use what is present in its row alone, of the case that `case` "
                        "names, and no statistics of the batch"
                    )
            if not _close(batched["logits"][row : row + 1], net(volume, subset)):
                raise Broken(
                    f"forward is not encode and fuse for subset {bits}: leave it as the contract has it"
                )
    return f"{len(present)} subsets"


def check_independence(net: Backbone, setting: CheckedNetwork) -> str:
    """What encode makes of a modality depends on that modality alone."""
    net, volumes, available = _precise(net, setting)
    together = _encoded(net, volumes, available)
    for m in range(setting.modalities):
        cases = available[:, m]
        only = torch.arange(setting.modalities).expand(int(cases.sum()), -1) == m
        for name, alone in _encoded(net, volumes[cases], only).items():
            if not _close(together[name][cases, m], alone[:, m]):
                raise Broken(
                    f"{name} of modality {m} changes with what else is available: encode each modality by "
                    "itself (contract.encode_packed), and mix them in fuse"
                )
    return ""


def _encoded(net: Backbone, volumes: Tensor, available: Tensor) -> dict[str, Tensor]:
    """All that belongs to single modalities, [B, M, ...] by name."""
    with torch.no_grad():
        features = net.encode(volumes, available)
        found = {f"levels[{i}]": level for i, level in enumerate(features.levels)}
        found |= {f"extra[{name!r}]": value for name, value in features.extra.items()}
        return found | ({"unimodal": net.unimodal(features)} if net.has_unimodal else {})


def check_state(net: Backbone, setting: CheckedNetwork) -> str:
    """The state_dict carries all that the output depends on."""
    net, volumes, available = _precise(net, setting)
    expected = _outcome(net, volumes, available)
    other = setting.build(seed=1).to(volumes.dtype).eval()
    other.load_state_dict(net.state_dict())
    for name, value in _outcome(other, volumes, available).items():
        if not _close(value, expected[name]):
            raise Broken(f"{name} differs after load_state_dict: keep all of it in parameters or buffers")
    return ""


def check_position(net: Backbone, setting: CheckedNetwork) -> str:
    """Crops lie anywhere in their cases, and beyond, each for itself."""
    net, volumes, available = _precise(net, setting)
    last = torch.tensor(setting.space) - 1
    forwards, away = torch.stack([torch.zeros_like(last), last]), torch.full((2, 3), 1000)
    corners = torch.stack([forwards - 5, (forwards + 3).flip(0), forwards + away])
    with torch.no_grad():
        together = net.fuse(net.encode_at(volumes, available, corners), available).logits
        for b in range(len(volumes)):
            one = slice(b, b + 1)
            alone = net.fuse(net.encode_at(volumes[one], available[one], corners[one]), available[one])
            if not _close(together[one], alone.logits):
                raise Broken(
                    f"logits of a crop at {corners[b].tolist()} change with where the others lie: "
                    "let encode_at go by the corners of each item alone"
                )
        if type(net).rebuild is Backbone.rebuild:
            return ""
        there = available[:, :, None, None, None]
        terms = net.rebuild(volumes.where(there, torch.nan), there & (volumes > 0), available, corners)
    for name, term in terms.items():
        if term.loss.dim() or not term.loss.isfinite():
            raise Broken(f"{name} of rebuild is {term.loss}, expected a finite scalar")
    return f"rebuilds volumes: {', '.join(terms)}"


CHECKS = (
    check_shapes,
    check_gradients,
    check_auxiliary,
    check_absent,
    check_independence,
    check_rows,
    check_position,
    check_state,
)


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    tolerance = TOLERANCE if a.dtype == torch.float64 else COARSE_TOLERANCE
    return (a - b).abs().max().item() <= tolerance * max(1.0, b.abs().max().item())
