"""The launcher with small shell commands for workers: order, deaths, retries, and being told to stop."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from io import StringIO

import pytest
from rich.console import Console

from benchmark.launch import run_locally, stopping
from benchmark.launch.devices import Slot
from benchmark.launch.run_locally import launch_here
from benchmark.launch.view import make_view
from benchmark.launch.worker_command import Job
from benchmark.run_folder.folder import RunFolder

CPU = [Slot("cpu", 1)]
DONE = "touch done"


@pytest.fixture(autouse=True)
def signals():
    """A test that was started in the background would ignore Ctrl-C, and one under nohup SIGHUP."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    before_hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)
    signal.signal(signal.SIGHUP, before_hangup)


class Workers:
    """Shell scripts for workers, by run; they run in the run folder with the number of their try in $1."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.scripts, self.started = folder, {}, []
        self.console = Console(file=StringIO(), width=200)
        monkeypatch.setattr(run_locally, "worker_command", self._command)
        monkeypatch.setattr(run_locally, "POLL_SECONDS", 0.01)

    def job(self, name, script, teacher=None, work=0.0):
        self.scripts[name] = script
        folder = RunFolder(self.folder / name)
        folder.write_config({})
        return Job(folder, self.folder, 1, 1, (RunFolder(self.folder / teacher),) if teacher else (), work)

    def _command(self, job, slot, track):
        name = job.folder.path.name
        self.started.append(name)
        code = f"cd '{job.folder.path}'; {self.scripts[name]}"
        return ["bash", "-c", code, "worker", str(self.started.count(name))], slot.environment()

    def launch(self, *jobs, slots=None, retries=0):
        launch_here(list(jobs), slots or CPU, track=False, console=self.console, retries=retries)

    @property
    def said(self):
        return self.console.file.getvalue()


@pytest.fixture
def workers(tmp_path, monkeypatch):
    return Workers(tmp_path, monkeypatch)


def failing(reason, code=1):
    return f"""echo '{{"reason": "{reason}"}}' > failed; exit {code}"""


@pytest.mark.parametrize("teacher_ends", ["done", "failed", "elsewhere"])
def test_the_order_is_kept(workers, teacher_ends):
    ends = {"done": DONE, "failed": failing("no memory"), "elsewhere": "true"}[teacher_ends]
    student = workers.job("student", DONE, "teacher")
    workers.launch(student, workers.job("teacher", ends), workers.job("other", DONE))
    if teacher_ends == "done":
        assert workers.started == ["teacher", "student", "other"]
        assert student.folder.state() == "done"
    else:
        assert workers.started == ["teacher", "other"]
        reasons = {"failed": "is failed (no memory)", "elsewhere": "is partial"}
        assert student.folder.reason() == f"it needs teacher, which {reasons[teacher_ends]}"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (failing("ValueError: no"), "ValueError: no"),
        ("kill -KILL $$", "the worker was killed by SIGKILL"),
        ("kill -SEGV $$", "the worker was killed by SIGSEGV"),
        ("exit 3", "the worker ended with exit code 3: see"),
        ("exit 130", "the worker was told to stop from outside"),
    ],
)
def test_a_run_that_dies_is_retried_and_its_reason_kept(workers, script, reason):
    healed = workers.job("healed", f"if [ $1 -lt 3 ]; then {script}; fi; {DONE}")
    lost = workers.job("lost", script)
    workers.launch(healed, lost, workers.job("other", DONE), retries=2)
    assert workers.started.count("healed") == workers.started.count("lost") == 3
    assert [healed.folder.state(), lost.folder.state()] == ["done", "failed"]
    assert lost.folder.reason().startswith(reason)
    output = (healed.folder.path / "output.txt").read_text().splitlines()
    assert [f"retry {n} of 2" in line and reason in line for n, line in enumerate(output, 1)] == [True] * 2
    assert "retry 2 of 2" in workers.said
    assert (workers.folder / "other" / "done").exists()


def test_memory_that_ran_out_is_named(workers, monkeypatch):
    counts = iter([4, 5])
    monkeypatch.setattr(run_locally, "memory_kills", lambda: next(counts))
    monkeypatch.setattr("benchmark.run_folder.reasons.memory_kills", lambda: next(counts))
    killed = workers.job("killed", "kill -KILL $$")
    workers.launch(killed)
    assert killed.folder.reason() == "out of memory: the system killed the worker by SIGKILL"


def test_wrong_input_is_not_retried(workers):
    wrong = workers.job("wrong", failing("found a, expected b", 2))
    workers.launch(wrong, retries=5)
    assert workers.started == ["wrong"]
    assert wrong.folder.reason() == "found a, expected b"


def test_the_reason_of_an_earlier_try_is_not_taken_for_this_one(workers):
    run = workers.job("run", "kill -SEGV $$")
    run.folder.mark_failed("something else, last week")
    workers.launch(run)
    assert run.folder.reason() == "the worker was killed by SIGSEGV"


def test_students_wait_for_a_teacher_that_is_retried(workers):
    teacher = workers.job("teacher", f"if [ $1 = 1 ]; then exit 1; fi; {DONE}")
    student = workers.job("student", DONE, "teacher")
    workers.launch(student, teacher, workers.job("other", DONE), retries=1)
    assert workers.started == ["teacher", "other", "teacher", "student"]
    assert student.folder.state() == "done"


def test_students_that_another_command_has_given_up_wait_for_a_teacher_that_is_retried(workers):
    """Another `bench run` of the grid cannot know that this one tries the teacher again."""
    reason = '{"reason": "it needs teacher, which is failed (no memory)"}'
    teacher = workers.job("teacher", f"[ $1 = 1 ] && echo '{reason}' > ../student/failed && exit 1; {DONE}")
    student = workers.job("student", DONE, "teacher")
    workers.launch(student, teacher, retries=1)
    assert workers.started == ["teacher", "teacher", "student"]
    assert student.folder.state() == "done"


@pytest.mark.parametrize("tested", ["never", "elsewhere"])
def test_students_need_what_a_teacher_has_learnt_and_none_of_its_tests(workers, tested):
    teacher, student = workers.job("teacher", DONE), workers.job("student", DONE, "teacher")
    teacher.folder.mark_trained()
    settings = {"never": {}, "elsewhere": {"evaluated": {}}}[tested]
    teacher.folder.test("first").begin(settings)
    workers.launch(student)
    assert (workers.started, student.folder.reason()) == (["student"], "")


def test_students_wait_until_the_session_that_taught_their_teacher_has_ended(workers, monkeypatch):
    """At its end it forgets what it has learnt from voxels that have changed meanwhile."""
    teacher, student = workers.job("teacher", DONE), workers.job("student", DONE, "teacher")
    free = workers.job("free", DONE)
    session = Other(teacher.folder)
    teacher.folder.test("first").begin({})
    teacher.folder.mark_trained()

    def look(*arguments):
        if free.folder.trained:
            (teacher.folder.path / "done").unlink(missing_ok=True)
            session.end("stopped")
        return next_job(*arguments)

    next_job = run_locally._next
    monkeypatch.setattr(run_locally, "_next", look)
    workers.launch(student, free)
    assert workers.started == ["free"]
    assert student.folder.reason() == "it needs teacher, which is partial"


@pytest.mark.parametrize("ends", ["done", "failed", "stopped", "dies"])
def test_a_run_that_another_process_executes_is_left_to_it(workers, monkeypatch, ends):
    run, student = workers.job("run", DONE), workers.job("student", DONE, "run")
    other = Other(run.folder)

    def look(*arguments):
        if "run: pid" in workers.said and (run.folder.path / ".." / "free" / "done").exists():
            other.end(ends)
        return next_job(*arguments)

    next_job = run_locally._next
    monkeypatch.setattr(run_locally, "_next", look)
    workers.launch(run, student, workers.job("free", DONE), retries=3)
    assert f"run: pid {os.getpid()} on {socket.gethostname()} executes it, waiting" in workers.said
    assert workers.said.count("executes it") == 1
    if ends == "failed":
        assert workers.started == ["free"]
        assert run.folder.reason() == "no memory"
        assert student.folder.reason() == "it needs run, which is failed (no memory)"
    else:
        assert workers.started == ["free", *(["run"] if ends != "done" else []), "student"]
        assert [run.folder.state(), student.folder.state()] == ["done", "done"]
    assert ("1 of 3 runs were executed by other processes" in workers.said) == (ends in ("done", "failed"))


class Other:
    """Another launcher's worker, played by this process."""

    def __init__(self, folder):
        self.folder, self._ended = folder, False
        self._lease = folder.lease()
        assert self._lease.__enter__()

    def end(self, how):
        if self._ended:
            return
        self._ended = True
        if how == "failed":
            self.folder.mark_failed("no memory")
        if how == "done":
            self.folder.mark_trained()
        if how == "dies":
            (file,) = (self.folder.path / "holder").iterdir()
            owner = json.loads(file.read_text())
            file.write_text(json.dumps({**owner, "started": owner["started"] - 1}))
        else:
            self._lease.__exit__(None, None, None)


def test_a_worker_that_finds_its_run_taken_is_no_death(workers):
    """Two launchers may start the same run in the same moment."""
    run = workers.job("run", f"if [ $1 = 1 ]; then exit 75; fi; {DONE}")
    workers.launch(run)
    assert workers.started == ["run", "run"]
    assert (run.folder.state(), "retry" in workers.said) == ("done", False)


def test_a_student_that_another_process_has_is_not_failed_for_its_teacher(workers):
    run = workers.job("run", "exit 1", "teacher")
    teacher = workers.job("teacher", failing("no"))
    with run.folder.lease() as mine:
        assert mine
        workers.launch(run, teacher)
    assert workers.started == ["teacher"]
    assert run.folder.state() == "partial"


def test_a_worker_that_cannot_be_started_does_not_stop_the_rest(workers, capfd):
    broken, other = workers.job("broken", DONE), workers.job("other", DONE)
    shutil.rmtree(broken.folder.path)
    workers.launch(broken, other, retries=1)
    assert workers.started == ["broken", "other"]
    assert (other.folder.state(), broken.folder.state()) == ("done", "absent")
    assert "broken: no worker could be started" in capfd.readouterr().err


def test_every_gpu_gets_a_run_before_one_gets_two(workers):
    slots = [Slot("cuda", 1, gpu) for gpu in ("0", "1", "0", "1")]
    wait = "echo $CUDA_VISIBLE_DEVICES > gpu; until [ -e ../go ]; do sleep 0.01; done; touch done"
    jobs = [workers.job(f"run{n}", wait) for n in range(4)]
    last = "echo $CUDA_VISIBLE_DEVICES > gpu; until [ -e ../run2/gpu ]; do sleep 0.01; done; touch ../go done"
    jobs[3] = workers.job("run3", last)
    workers.launch(*jobs, slots=slots)
    gpus = [(job.folder.path / "gpu").read_text().strip() for job in jobs]
    assert gpus == ["0", "1", "0", "1"]


def test_the_first_ctrl_c_gives_time_for_a_checkpoint(workers):
    save = "trap 'sleep 0.2; touch saved; exit 130' TERM; kill -INT $PPID; while true; do sleep 0.01; done"
    run, other = workers.job("run", save), workers.job("other", DONE)
    with pytest.raises(KeyboardInterrupt):
        workers.launch(run, other, retries=3)
    assert workers.started == ["run"]
    assert (run.folder.path / "saved").exists()
    assert [run.folder.state(), run.folder.reason()] == ["partial", ""]
    assert "Ctrl-C again kills" in workers.said
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_stop_like_ctrl_c(workers, number):
    script = f"trap 'touch saved; exit 130' TERM; kill -{number} $PPID; while :; do sleep 0.01; done"
    run = workers.job("run", script)
    with pytest.raises(KeyboardInterrupt):
        workers.launch(run)
    assert (run.folder.path / "saved").exists()


@pytest.mark.parametrize("why", ["twice", "too slow"])
def test_the_second_ctrl_c_and_too_long_a_stop_leave_nobody_behind(workers, monkeypatch, why):
    if why == "too slow":
        monkeypatch.setattr(stopping, "STOP_SECONDS", 0.1)
    again = "kill -INT $PPID" if why == "twice" else "true"
    stubborn = (
        f"trap '{again}' TERM; sleep 1000 & echo $! > child; kill -INT $PPID; while true; do sleep 0.01; done"
    )
    run = workers.job("run", stubborn)
    with pytest.raises(KeyboardInterrupt):
        workers.launch(run)
    assert run.folder.state() == "partial"
    assert _ends(int((run.folder.path / "child").read_text()))


def test_a_launcher_that_cannot_print_leaves_nobody_behind(workers, monkeypatch):
    run = workers.job("run", "sleep 1000 & echo $! > child; wait")
    child = run.folder.path / "child"

    def broken(*_, **__):
        until(lambda: child.exists() and child.read_text())
        raise BrokenPipeError

    monkeypatch.setattr(run_locally, "make_view", lambda *_: make_view([], workers.console))
    monkeypatch.setattr(workers.console, "print", broken)
    monkeypatch.setattr("benchmark.launch.view._PlainView.refresh", broken)
    with pytest.raises(BrokenPipeError):
        workers.launch(run)
    assert _ends(int(child.read_text()))


def test_what_a_dead_worker_started_ends_with_it(workers):
    run = workers.job("run", "sleep 1000 & echo $! > child; kill -KILL $$")
    workers.launch(run)
    assert _ends(int((run.folder.path / "child").read_text()))


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen in 10 s")


def _ends(pid):
    """Whether a process is gone, or dead and only not yet fetched by its parent."""
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout
        if state.startswith("Z"):
            return True
        time.sleep(0.01)
    return False
