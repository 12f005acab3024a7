"""One run on several devices: processes that take a part of each batch each, and add up what comes of it.

    with lead(size=2, device=torch.device("cuda:0"), command=command) as team:   # starts the others
        train(..., team=team)
    team = follow(rank=1, size=2, port=40001, device=torch.device("cuda:1"))     # in each of those

Every loss is a sum over cases, so gradients, logged terms and the sums that an objective keeps (the distances
behind PASSION's relative preference, from which beta follows) are summed over the processes, never averaged:
the numbers are those of one device with the same batch, but for the order of floating-point sums.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from bench_errors import InputError
from passion.objective import Objective

HOST = "127.0.0.1"
PATIENCE = timedelta(hours=24)
"""How long a process waits for the others: the first validates while they wait, and dead ones are seen."""
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Team:
    """The processes of a run: which of how many this one is. A team of one adds nothing up."""

    rank: int = 0
    size: int = 1
    device: torch.device | None = None

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def idle(self, cases: int) -> bool:
        """Whether this process has none of the `cases` of a batch."""
        return self.size > 1 and self.rank >= cases

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any of the processes."""
        return flag if self.size == 1 else bool(self.sum([torch.tensor(float(flag))])[0])

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums over the processes, float64 and of the shapes given, on the device."""
        flat = torch.cat([t.detach().reshape(-1).to(self.device, torch.float64) for t in tensors])
        dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def sum_gradients(self, parameters: Sequence[Tensor], idle: bool) -> None:
        """Add up gradients in place; those of an `idle` process, which had no case, count nothing.

        A parameter without a gradient here may have one elsewhere; without one anywhere it gets zeros, as
        `fill_gradients` would give it.
        """
        gradients = [torch.zeros_like(p) if idle or p.grad is None else p.grad for p in parameters]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = part.reshape(parameter.shape).to(parameter.dtype, copy=True)

    def sum_state(self, objective: Objective, before: dict[str, Any], idle: bool) -> None:
        """Let the sums that a step added to since `before` hold what it added in all processes."""
        if not objective.summed:
            return
        state = objective.state_dict()
        old = [before[name].to(self.device) for name in objective.summed]
        new = [state[name].to(self.device) for name in objective.summed]
        added = self.sum([(n - o) * (not idle) for n, o in zip(new, old, strict=True)])
        state |= {name: o + a for name, o, a in zip(objective.summed, old, added, strict=True)}
        objective.load_state_dict(state)


ALONE = Team()


def check_team(size: int, batch_size: int, objective: str, goal: type[Objective]) -> None:
    """Raise `InputError` where `size` devices cannot share the batches of a run."""
    if size > batch_size:
        raise InputError(
            f"--devices {size}: the devices share each batch and train.batch_size is {batch_size}: "
            f"set train.batch_size={size} or more, or use one device"
        )
    if size > 1 and goal.backward is not Objective.backward:
        raise InputError(
            f"--devices {size}: objective {objective} has a backward pass of its own, which needs the whole "
            "batch: use one device"
        )


@contextmanager
def lead(size: int, device: torch.device, command: Callable[[int, int], list[str]]) -> Iterator[Team]:
    """Start the other processes of a team, `command(rank, port)` each, and end them with the block.

    Yields `ALONE` where `size` is 1. Raises RuntimeError where one of them ends before its work is done.
    """
    if size == 1:
        yield ALONE
        return
    store = dist.TCPStore(HOST, 0, size, is_master=True, wait_for_workers=False, timeout=PATIENCE)
    others = [
        subprocess.Popen(command(rank, store.port), stdin=subprocess.DEVNULL) for rank in range(1, size)
    ]
    watch = _Guard(others)
    try:
        _join(store, 0, size, device)
        yield Team(0, size, device)
        watch.over.set()
        for process in others:
            if code := process.wait(timeout=60):
                raise RuntimeError(f"a process of the run's {size} devices ended with exit code {code}")
    except KeyboardInterrupt:
        watch.over.set()  # all were told to stop at the same step
        with suppress(subprocess.TimeoutExpired):
            for process in others:
                process.wait(timeout=10)
        raise
    finally:
        watch.over.set()
        for process in others:
            process.kill()
            process.wait()
        if dist.is_initialized():
            dist.destroy_process_group()


def follow(rank: int, size: int, port: int, device: torch.device) -> Team:
    """Join the team whose leader, this process's parent, listens at `port`; end when the parent ends."""
    parent = os.getppid()

    def end_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    _join(dist.TCPStore(HOST, port, size, is_master=False, timeout=PATIENCE), rank, size, device)
    return Team(rank, size, device)


def _join(store: dist.Store, rank: int, size: int, device: torch.device) -> None:
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)


class _Guard:
    """Ends this process when one of the others has died: it may be waiting for that one for ever."""

    def __init__(self, others: "list[subprocess.Popen[bytes]]") -> None:
        self.over = threading.Event()
        threading.Thread(target=self._look, args=(others,), daemon=True).start()

    def _look(self, others: "list[subprocess.Popen[bytes]]") -> None:
        while not self.over.wait(POLL_SECONDS):
            codes = [code for process in others if (code := process.poll())]
            # What gloo raises at once says less than this, but may have been recorded by now.
            if codes and not self.over.wait(10 * POLL_SECONDS):
                print(
                    f"a process of the run's devices ended with exit code {codes[0]}",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(1)
