"""The SLURM launcher with small scripts for SLURM's programs; the real one is in tests/slurm."""

import os
import pickle
import signal
from io import StringIO

import pytest
from rich.console import Console

from bench_errors import InputError
from benchmark.launch import cluster as cluster_room
from benchmark.launch import run_locally, slurm
from benchmark.launch.cluster import Cluster, chosen_cluster, minutes
from benchmark.launch.devices import Slot
from benchmark.launch.slurm import Task, submit, wait
from benchmark.launch.slurm_queue import cancel, job_name, job_of, note_job, queued
from benchmark.launch.stopping import StopRequests
from benchmark.launch.worker_command import Job
from benchmark.run_folder.folder import RunFolder
from benchmark.training.exit_codes import STOPPED
from benchmark.tune import cluster_pool
from benchmark.tune.cluster_pool import KILLED, ClusterPool
from passion_bench import ROOMS

SLOT = Slot("cpu", 1)


class Slurm:
    """Programs in a folder of their own, which comes first in PATH."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.console = folder, Console(file=StringIO(), width=200)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.setattr(slurm, "POLL_SECONDS", 0.01)
        monkeypatch.setattr(slurm, "QUEUE_SECONDS", 0.02)
        monkeypatch.setattr(cluster_pool, "POLL_SECONDS", 0.01)
        monkeypatch.setattr(cluster_pool, "QUEUE_SECONDS", 0.0)
        count = f"n=$(($(cat {folder}/count 2>/dev/null || echo 16) + 1)); echo $n > {folder}/count"
        self.program("sbatch", f'{count}; cp "$1" {folder}/script$n; echo "Submitted batch job $n"')
        self.program("srun", "exit 1")
        self.program("scancel", f'echo "$@" >> {folder}/cancelled')
        self.program("scontrol", "echo 'MaxArraySize            = 1001'")
        self.queue("")

    def program(self, name, script):
        path = self.folder / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)

    def queue(self, lines):
        (self.folder / "queue").write_text(lines)
        self.program("squeue", f'echo "$@" > {self.folder}/asked; cat {self.folder}/queue')

    def scripts(self):
        """What was submitted, in order: each with its #SBATCH options."""
        found = []
        for path in sorted(self.folder.glob("script*"), key=lambda path: int(path.name[6:])):
            lines = [line.removeprefix("#SBATCH --") for line in path.read_text().splitlines()]
            found.append(dict(line.split("=", 1) for line in lines if "=" in line) | dict.fromkeys(lines))
        return found

    @property
    def said(self):
        return self.console.file.getvalue()


@pytest.fixture
def programs(tmp_path_factory, monkeypatch):
    return Slurm(tmp_path_factory.mktemp("programs"), monkeypatch)


@pytest.fixture
def make_job(tmp_path):
    def make(name, teacher=None, work=0.0):
        folder = RunFolder(tmp_path / "grid" / name)
        folder.write_config({})
        return Job(folder, tmp_path, 1, 1, (teacher.folder,) if teacher else (), work)

    return make


def submit_to(programs, jobs, cluster):
    submit(jobs, "grid", cluster, SLOT, track=False, console=programs.console, retries=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("2:30", 3), ("8:00:00", 480), ("1-12", 2160), ("1-00:30", 1470), ("0-0:0:1", 1)],
)
def test_times_are_those_of_slurm(text, expected):
    assert minutes(text) == expected


@pytest.mark.parametrize("text", ["", "0", "soon", "UNLIMITED", "1:2:3:4", "-5"])
def test_other_times_are_refused(text):
    with pytest.raises(InputError, match=f"--slurm time={text}: expected how long"):
        minutes(text)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"array": "0-3"}, "bench sets array itself"),
        ({"cpus-per-task": "0"}, "cpus-per-task=0: expected a number from 1"),
        ({"time": "soon"}, "time=soon"),
    ],
)
def test_options_that_cannot_be_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        Cluster.of(options)


@pytest.mark.parametrize(
    ("options", "device", "expected"),
    [
        ({}, "auto", Slot("cpu", 4)),
        ({"gres": "gpu:1", "cpus-per-task": "8"}, "auto", Slot("cuda", 8)),
        ({"gpus-per-task": "1"}, "auto", Slot("cuda", 4)),
        ({"gres": "gpu:1"}, "cpu", Slot("cpu", 4)),
        ({"gres": "scratch:1"}, "auto", Slot("cpu", 4)),
    ],
)
def test_a_run_uses_the_gpu_that_its_job_asks_for(options, device, expected):
    assert Cluster.of(options).slot(device) == expected


@pytest.mark.parametrize(
    "gres", ["gpu:2", "gpu:a100:2,scratch:1", "gpu:3090:2", "gpu:2(S:0-1)", "gpu,gpu:a100"]
)
def test_the_processes_of_a_run_share_the_cores_of_its_job(gres):
    options = {"gres": gres, "cpus-per-task": "8"}
    beside = {"gpus-per-node": "2", "gres": "scratch:1,gpumem:20g"}
    assert Cluster.of(beside).slot("auto", 2).devices == 2
    assert Cluster.of(options).slot("auto", 2) == Slot("cuda", 4, devices=2)
    assert Cluster.of(options).slot("cpu", 16) == Slot("cpu", 1, devices=16)


@pytest.mark.parametrize(
    "options", [{"gres": "gpu:1"}, {"gres": "gpu:a100:4"}, {"gres": "gpu:a100"}, {"gpus-per-task": "3"}]
)
def test_a_job_asks_for_as_many_gpus_as_a_run_has_devices(options):
    with pytest.raises(InputError, match=r"--devices 2: found --slurm \S+, expected 2 GPUs"):
        Cluster.of(options).slot("auto", 2)


@pytest.mark.parametrize(
    ("device", "says"), [("cuda", "add --slurm gres=gpu:1"), ("tpu", "choose auto, cpu")]
)
def test_a_device_that_no_job_has_is_refused(device, says):
    with pytest.raises(InputError, match=says):
        Cluster.of({}).slot(device)


@pytest.mark.parametrize(
    ("launcher", "options", "parallel", "no_wait", "says"),
    [
        ("local", {"mem": "4G"}, None, False, "--slurm has no effect with --launcher local"),
        ("local", {}, 2, False, "--parallel has no effect with --launcher local"),
        ("local", {}, None, True, "--no-wait has no effect with --launcher local"),
        ("slurm", {}, None, False, "--gpus has no effect with --launcher slurm"),
    ],
)
def test_an_option_without_effect_is_an_error(programs, launcher, options, parallel, no_wait, says):
    with pytest.raises(InputError, match=says):
        chosen_cluster(launcher, options, parallel, no_wait, {"--workers": None, "--gpus": "0"})


def test_what_there_is_to_submit_with_is_asked_first(programs, monkeypatch):
    assert chosen_cluster("local", {}, None, False, {"--gpus": "0"}) is None
    assert chosen_cluster("slurm", {}, 2, True, {}) == Cluster(Cluster.of({}).options, 2, False)
    (programs.folder / "sbatch").unlink()
    monkeypatch.setenv("PATH", str(programs.folder))
    with pytest.raises(InputError, match="no program sbatch here"):
        chosen_cluster("slurm", {}, None, False, {})
    monkeypatch.setattr(cluster_room, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'passion-bench\[slurm\]'"):
        chosen_cluster("slurm", {}, None, False, {})


def test_a_grid_becomes_arrays_and_students_wait_for_their_teachers(programs, make_job):
    teacher = make_job("teacher", work=1.0)
    student, long = make_job("student", teacher, work=9.0), make_job("long", work=20.0)
    cluster = Cluster.of({"partition": "gpu", "time": "1:00:00", "gres": "gpu:1", "mem": "4G"})
    submit_to(programs, [student, teacher, long], cluster)
    assert [job_of(job.folder.path) for job in (long, teacher, student)] == ["17_0", "17_1", "18"]
    first, second = programs.scripts()
    for name, value in {"array": "0-1%2", "job-name": "bench-grid", "signal": "USR2@180"}.items():
        assert first[name] == value
    for script in (first, second):
        for name, value in {"time": "1:00:00", "gres": "gpu:1", "mem": "4G", "cpus-per-task": "4"}.items():
            assert script[name] == value
        assert "requeue" in script
        assert script["export PYTHONPATH"].startswith(ROOMS)
    assert "dependency" not in first
    assert (second["dependency"], "array" in second) == ("afterany:17_1", False)
    assert programs.said.splitlines() == ["submitted 2 runs as job 17", "submitted 1 run as job 18"]


def test_a_chain_becomes_an_array_for_each_link(programs, make_job):
    first = make_job("first")
    middle = make_job("middle", first)
    last, other = make_job("last", middle), make_job("other")
    submit_to(programs, [last, middle, first, other], Cluster.of({}))
    jobs = [job_of(job.folder.path) for job in (first, other, middle, last)]
    assert jobs == ["17_0", "17_1", "18", "19"]
    assert [script.get("dependency") for script in programs.scripts()] == [
        None,
        "afterany:17_0",
        "afterany:18",
    ]


def test_a_limit_holds_over_all_arrays(programs, make_job):
    programs.program("scontrol", "echo 'MaxArraySize = 2'")
    jobs = [make_job(f"run{n}", work=-n) for n in range(5)]
    submit_to(programs, jobs, Cluster.of({}, parallel=1))
    assert [job_of(job.folder.path) for job in jobs] == ["17_0", "17_1", "18_0", "18_1", "19"]
    scripts = programs.scripts()
    assert [script.get("array") for script in scripts] == ["0-1%1", "0-1%1", None]
    assert [script.get("dependency") for script in scripts] == [None, "afterany:17", "afterany:18"]


def test_what_is_in_the_queue_is_not_submitted_again(programs, make_job):
    teacher, new = make_job("teacher"), make_job("new")
    student = make_job("student", teacher)
    for job, identity in ((teacher, "3_0"), (new, "2_7")):
        note_job(job.folder.path, identity)
    new.folder.mark_failed("its node was lost")
    done = make_job("done")
    done.folder.mark_trained()
    programs.queue("3_0|RUNNING|None\n3_1|PENDING|Priority\n")
    submit_to(programs, [student, teacher, new, done], Cluster.of({}))
    assert "1 run of grid grid in the queue already" in programs.said
    assert [job_of(job.folder.path) for job in (new, student)] == ["17", "18"]
    assert programs.scripts()[1]["dependency"] == "afterany:3_0"
    assert [new.folder.state(), new.folder.reason()] == ["partial", ""]
    assert queued("grid") == {"3_0": "running", "3_1": "pending (Priority)"}
    assert "--name=bench-grid" in (programs.folder / "asked").read_text()


def test_what_slurm_refuses_is_one_line(programs, make_job, capfd):
    programs.program("sbatch", "echo 'sbatch: error: no such partition: gpu' >&2; exit 1")
    job = make_job("run")
    with pytest.raises(InputError, match=r"^sbatch refused the jobs: no such partition: gpu$"):
        submit_to(programs, [job], Cluster.of({}))
    assert job_of(job.folder.path) == ""
    programs.program("squeue", "echo 'slurm_load_jobs error:' >&2; echo 'Unable to contact' >&2; exit 1")
    with pytest.raises(
        InputError, match=r"^the SLURM cluster does not answer: slurm_load_jobs error: Unable"
    ):
        submit_to(programs, [job], Cluster.of({}))
    assert capfd.readouterr().err == ""


def test_two_do_not_submit_at_the_same_time(programs, make_job):
    job = make_job("run")
    own = RunFolder(job.folder.path.parent / "slurm")
    own.path.mkdir()
    with own.lease(), pytest.raises(InputError, match="another process is submitting grid grid"):
        submit_to(programs, [job], Cluster.of({}))


def test_waiting_ends_when_nothing_more_can_come(programs, make_job):
    done, failed, lost = (make_job(name) for name in ("done", "failed", "lost"))
    done.folder.mark_trained()
    failed.folder.mark_failed("out of memory")
    for job, identity in ((done, "3_0"), (failed, "3_1"), (lost, "3_2")):
        note_job(job.folder.path, identity)
    answers = "3_2|RUNNING|None\n"
    # In the queue, then no answer, then gone.
    programs.program(
        "squeue",
        f"cd {programs.folder}; echo >> asks; case $(wc -l < asks) in "
        f"1) echo '{answers.strip()}';; 2) echo broken >&2; exit 1;; esac",
    )
    wait([done, failed, lost], "grid", programs.console)
    assert "does not answer: broken; waiting on" in programs.said
    assert failed.folder.reason() == "out of memory"
    assert lost.folder.reason().startswith("its job 3_2 is over and it is not done: see")
    assert lost.folder.reason().endswith("grid/slurm/3_2_0_log.out")


def test_waiting_for_runs_that_are_done_asks_nothing(programs, make_job):
    job = make_job("run")
    job.folder.mark_trained()
    programs.program("squeue", "exit 1")
    wait([job], "grid", programs.console)
    assert "run: done" in programs.said


def test_ctrl_c_ends_the_waiting_only(programs, make_job, monkeypatch):
    job = make_job("run")
    note_job(job.folder.path, "3")
    programs.queue("3|PENDING|Resources\n")

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(slurm.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wait([job], "grid", programs.console)
    assert "the jobs go on; to end them: scancel --name=bench-grid" in programs.said
    assert not (programs.folder / "cancelled").exists()
    assert job.folder.state() == "partial"


def test_names_of_jobs_have_nothing_special():
    assert job_name("my grid, v1.2") == "bench-my_grid__v1.2"


def test_nothing_is_cancelled_for_no_job(programs):
    cancel([])
    assert not (programs.folder / "cancelled").exists()


@pytest.mark.parametrize(
    ("queue", "requeued"),
    [
        ("5_0|RUNNING|None\n", True),
        ("5_0|COMPLETING|None\n", False),
        ("5_0|PENDING|BeginTime\n", False),
        ("", False),
    ],
)
def test_a_task_that_is_stopped_is_requeued_if_slurm_does_not(
    programs, make_job, monkeypatch, queue, requeued
):
    asked = []
    monkeypatch.setattr(run_locally, "launch_here", _interrupted)
    before = signal.signal(signal.SIGUSR2, lambda *_: asked.append("requeue"))
    for name, value in {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "6"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    programs.queue(queue)
    try:
        with pytest.raises(SystemExit, match=str(STOPPED)):
            Task(make_job("run"), SLOT, False, 0)()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert asked == ["requeue"] * requeued


def _interrupted(*_):
    raise KeyboardInterrupt


def test_a_run_that_gets_no_further_is_given_up(programs, make_job, monkeypatch):
    monkeypatch.setattr(run_locally, "launch_here", _interrupted)
    monkeypatch.setattr(slurm, "_is_wanted", lambda grid: False)
    job = make_job("run")
    task = Task(job, SLOT, False, 0)
    moves = lambda *_: ((job.folder.path / "checkpoint.pt").write_text("new"), _interrupted())  # noqa: E731
    for launch in (_interrupted, _interrupted, moves, _interrupted, _interrupted, _interrupted):
        assert job.folder.state() == "partial"
        monkeypatch.setattr(run_locally, "launch_here", launch)
        with pytest.raises(SystemExit):
            task()
        # What submitit keeps of a task between two jobs.
        task = pickle.loads(pickle.dumps(task.checkpoint().function))
    assert job.folder.reason() == "it got no further in 3 jobs: give them more time"


def test_only_a_second_ctrl_c_counts():
    # A shell starts what runs in the background with Ctrl-C ignored, and ignored it would stay.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with StopRequests() as asked:
            for number, count in [("USR2", 1), ("TERM", 1), ("TERM", 1), ("INT", 2)]:
                os.kill(os.getpid(), signal.Signals[f"SIG{number}"])
                assert asked.count == count
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture
def pool(programs, tmp_path):
    return ClusterPool(["study.yaml"], tmp_path, [SLOT] * 2, "study", Cluster.of({}, parallel=2))


def over(pool, name, result):
    """Leave what submitit leaves of a job that is over."""
    pool._jobs[name].paths.result_pickle.write_bytes(pickle.dumps(result))


def test_workers_are_jobs_whose_exit_codes_are_read(programs, pool):
    pool.fill(9)
    assert len(pool) == 2
    assert programs.scripts()[0]["array"] == "0-1%2"
    programs.queue("17_0|RUNNING|None\n17_1|RUNNING|None\n")
    assert pool.ended() == []
    over(pool, "17_0", ("success", 0))
    programs.queue("17_1|RUNNING|None\n")
    assert pool.ended() == pool.ended() == []
    assert len(pool) == 1
    pool.fill(2)
    assert len(pool) == 2
    over(pool, "17_1", ("success", STOPPED))
    programs.queue("")
    pool.ended()
    codes = dict((path.name, code) for code, path in pool.ended())
    assert codes == {"17_1_0_log.out": STOPPED, "18_0_log.out": KILLED}
    assert len(pool) == 0


def test_a_job_that_nobody_needs_is_taken_back(programs, pool):
    pool.fill(2)
    programs.queue("17_0|RUNNING|None\n17_1|PENDING|Resources\n")
    pool.ended()
    pool.fill(3)
    assert not (programs.folder / "cancelled").exists()
    pool.fill(2)
    assert (programs.folder / "cancelled").read_text() == "--quiet --state=PENDING 17_1\n"


@pytest.mark.parametrize("at_once", [False, True])
def test_workers_are_told_to_save_and_killed_if_they_do_not(programs, pool, at_once):
    pool.fill(1)
    script = f'echo "$@" >> {programs.folder}/cancelled'
    if not at_once:
        script += f'; case "$2" in --signal=TERM) echo -n > {programs.folder}/queue;; esac'
    programs.program("scancel", script)
    programs.queue("17|RUNNING|None\n")
    pool.stop(lambda: at_once)
    said = (programs.folder / "cancelled").read_text().splitlines()
    assert said == ["--quiet --state=PENDING 17", "--quiet --signal=TERM 17", *(["--quiet 17"] * at_once)]


@pytest.mark.parametrize("stopped", [False, True])
def test_a_worker_on_a_node_is_stopped_with_its_job(tmp_path, stopped):
    script = "trap 'touch saved; exit 130' TERM; kill -USR2 $PPID; while :; do sleep 0.01; done"
    task = cluster_pool.WorkerTask(
        ["bash", "-c", f"cd {tmp_path}; {script if stopped else 'echo $THREADS > threads; exit 3'}"],
        {"THREADS": "7"},
    )
    assert task() == (130 if stopped else 3)
    assert (tmp_path / ("saved" if stopped else "threads")).exists()
