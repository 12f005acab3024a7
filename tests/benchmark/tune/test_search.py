"""A study's life with an objective that costs nothing: order, pruning, failures, kills, resuming."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from recorded_runs import record
from stub_study import made, stub_objective, worked

from bench_errors import InputError
from benchmark.training.exit_codes import DISK_FULL
from benchmark.tune import command, worker
from benchmark.tune.search import RETRIES, Place, begin, counted, ended, give_up_lost, next_trial, resume
from benchmark.tune.study_file import load_search
from benchmark.tune.worker import work


def test_the_papers_values_come_first_and_trials_are_pruned_and_counted(tmp_path):
    study, search, _ = worked(tmp_path, 24)
    trials = study.get_trials()
    assert len(trials) == 24
    assert trials[0].params == search.first("stub")
    states = Counter(t.state for t in trials)
    assert states[TrialState.PRUNED] > 0
    assert states[TrialState.COMPLETE] > 0
    assert study.best_value > 0.75
    work(study, search, Place("stub", tmp_path / "runs"), lambda trial: [0.0], 24, None)
    assert len(study.get_trials()) == 24


def test_a_study_is_the_same_twice_and_however_it_was_broken_off(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    whole, *_ = worked(tmp_path / "a", 14)
    worked(tmp_path / "b", 8)
    again, *_ = worked(tmp_path / "b", 14)
    assert [t.params for t in whole.get_trials()] == [t.params for t in again.get_trials()]
    assert [t.state for t in whole.get_trials()] == [t.state for t in again.get_trials()]


def test_an_error_fails_its_trial_with_a_reason_and_no_other(tmp_path):
    def fail_second(trial):
        if trial.number == 1:
            raise FloatingPointError("the loss is nan\nin epoch 0")

    study, *_ = worked(tmp_path, 4, fail_second, pruner="none")
    states = [t.state.name for t in study.get_trials()]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert study.get_trials()[1].user_attrs["reason"] == "FloatingPointError: the loss is nan in epoch 0"


def test_a_value_that_is_no_number_fails_its_trial(tmp_path):
    search, place = made(tmp_path)
    begin(search, place, "d474")
    study = resume(search, place)
    work(study, search, place, lambda trial: [float("nan")], 1, None)
    assert study.get_trials()[0].state == TrialState.FAIL
    assert study.get_trials()[0].user_attrs["reason"] == "ValueError: its value is nan"


def test_a_trial_begun_again_is_judged_by_what_it_had_at_each_look(tmp_path):
    """ASHA's first rung is after the first look, whose value it keeps however much later it is asked."""
    rungs = []
    for looks in ([1, 2, 3], [3]):  # the second worker comes to the third look, two were logged by another
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1)
        study = optuna.create_study(pruner=pruner, direction="maximize")
        trial, folder = study.ask(), record(tmp_path, "passion", seed=len(looks))
        (folder.path / "log.jsonl").unlink()
        hopeless = worker._pruning(trial, folder)
        for epoch in (1, 2, 3):
            if epoch in looks:
                hopeless(epoch, epoch / 10)
            folder.append_log({"epoch": epoch - 1, "validation": epoch / 10})
        rungs.append(study.get_trials()[0].system_attrs)
    assert rungs[0] == rungs[1] == {"completed_rung_0": 0.1}


def test_a_trial_begun_again_ends_by_a_look_that_was_logged_before_it_was_judged(tmp_path):
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=10, reduction_factor=3)
    study = optuna.create_study(pruner=pruner, direction="maximize")
    for i in range(8):
        better = study.ask()
        better.report(0.8 + i / 100, 10)
        better.should_prune()
        study.tell(better, 0.8)
    trial, folder = study.ask(), record(tmp_path, "passion")
    (folder.path / "log.jsonl").unlink()
    folder.append_log({"epoch": 9, "validation": 0.1})
    assert worker._pruning(trial, folder)(15, 0.1)


@pytest.mark.parametrize("pruner", ["median", "asha", "hyperband", "none"])
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_every_pruner_and_sampler_works(tmp_path, pruner, sampler):
    study, *_ = worked(tmp_path, 20, pruner=pruner, sampler=sampler)
    states = Counter(t.state.name for t in study.get_trials())
    assert set(states) <= {"COMPLETE", "PRUNED"}
    assert (states["PRUNED"] == 0) == (pruner == "none")


def test_two_goals_have_a_front(tmp_path):
    study, search, _ = worked(tmp_path, 12, goal="both")
    assert search.pruner.name == "none"
    assert len(study.best_trials) >= 2


def test_no_trial_begins_after_its_time(tmp_path):
    search, place = made(tmp_path)
    begin(search, place, "d474")
    study = resume(search, place)
    work(study, search, place, stub_objective(search, place), 5, time.time() - 1)
    assert [t.state for t in study.get_trials()] == [TrialState.WAITING]


SLOW_WORKER = """
import sys, time
sys.path[:0] = {paths!r}
from pathlib import Path
from benchmark.tune.study_file import load_search
from benchmark.tune.search import Place, resume
from benchmark.tune.worker import work
name, search = load_search(sys.argv[1])
place = Place(name, Path(sys.argv[2]))

def forever(trial):
    print("begun", flush=True)
    time.sleep(600)

work(resume(search, place), search, place, forever, 5, None)
"""


def kill_a_worker(plan_file, runs):
    script = SLOW_WORKER.format(paths=[os.getcwd()])
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(plan_file), str(runs)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    return process


def test_a_killed_workers_trial_fails_is_queued_again_and_counts_once(tmp_path):
    search, place = made(tmp_path)
    begin(search, place, "d474")
    study = resume(search, place)
    process = kill_a_worker(tmp_path / "stub.yaml", place.runs)
    try:
        assert give_up_lost(study, place) == []
        assert counted(study.get_trials()) == 1
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert give_up_lost(study, place) == [0]
    assert [t.state for t in study.get_trials()] == [TrialState.FAIL, TrialState.WAITING]
    assert counted(study.get_trials()) == 0
    work(study, search, place, stub_objective(search, place), 3, None)
    trials = study.get_trials()
    assert [t.state.name for t in trials][:2] == ["FAIL", "COMPLETE"]
    assert trials[1].params == trials[0].params
    assert len(trials) == 4
    assert counted(trials) == 3


def test_what_kills_its_workers_is_not_tried_for_ever(tmp_path):
    search, place = made(tmp_path)
    begin(search, place, "d474")
    study = resume(search, place)
    for _ in range(RETRIES + 1):
        trial = study.ask()
        trial.set_user_attr("worker", "gone")
        place.worker("gone").path.mkdir(exist_ok=True)
        assert give_up_lost(study, place) == [trial.number]
    assert [t.state for t in study.get_trials()] == [TrialState.FAIL] * (RETRIES + 1)
    assert counted(study.get_trials()) == 1


def test_a_worker_of_which_nothing_is_known_is_left_alone(tmp_path):
    search, place = made(tmp_path)
    begin(search, place, "d474")
    study = resume(search, place)
    study.ask().set_user_attr("worker", "another-machine")
    assert give_up_lost(study, place) == []


def test_a_study_goes_on_only_as_it_was_begun(tmp_path):
    search, place = made(tmp_path)
    begin(search, place, "d474")
    begin(search, place, "d474")
    assert len(resume(search, place).get_trials()) == 1
    with pytest.raises(InputError, match="begun with data d474, the store now holds beef"):
        begin(search, place, "beef")
    other, _ = made(tmp_path, base={"train": {"epochs": 5}})
    with pytest.raises(InputError, match="begun with another base"):
        begin(other, place, "d474")
    pruned_otherwise, _ = made(tmp_path, pruner="asha")
    begin(pruned_otherwise, place, "d474")


def test_a_cut_last_line_of_the_journal_is_dropped_and_its_trial_runs_again(tmp_path, capsys):
    _, search, place = worked(tmp_path, 4)
    journal = place.own / "journal.log"
    whole = journal.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    journal.write_bytes(whole[: last + 5])
    begin(search, place, "d474")
    assert journal.read_bytes().startswith(whole[:last])
    assert f"{journal}: dropped a last line" in capsys.readouterr().err
    study = resume(search, place)
    give_up_lost(study, place)
    work(study, search, place, stub_objective(search, place), 5, None)
    trials = resume(search, place).get_trials()
    assert counted(trials) == 5
    assert {t.state for t in trials} <= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}


@pytest.mark.parametrize(
    "line", ['{"op_code": 99, "worker_id": "a"}', "{cut in the middle", '{"op_code": 5}']
)
def test_a_damaged_journal_is_named(tmp_path, line):
    _, search, place = worked(tmp_path, 2)
    journal = place.own / "journal.log"
    *before, last = journal.read_text().splitlines()
    journal.write_text("\n".join([*before, line, last, ""]))
    for opens in (lambda: resume(search, place), lambda: begin(search, place, "d474")):
        with pytest.raises(InputError, match=r"journal.log is damaged, or of a newer Optuna \("):
            opens()


def test_a_lock_is_seen_wherever_a_study_lies(tmp_path, monkeypatch):
    """A lock whose link leads nowhere could not be seen to be silent, and would be waited for without end."""
    plan, _ = made(tmp_path)
    monkeypatch.chdir(tmp_path)
    place = Place("stub", Path("runs"))
    begin(plan, place, "d474")
    lock = place.open_storage()._backend._link
    lock.acquire()
    assert (place.own / "journal.log.lock").exists()
    lock.release()


def test_a_trial_under_way_has_begun_and_not_ended(tmp_path):
    study, plan, place = worked(tmp_path, 2)
    next_trial(study, plan, place, 4, "me")
    trials = study.get_trials()
    assert (counted(trials), ended(trials)) == (3, 2)


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    plan, place = made(tmp_path)
    study = begin(plan, place, "d474")
    monkeypatch.setattr(worker, "resume", no_space)
    monkeypatch.setattr(sys, "argv", ["worker", str(tmp_path / "stub.yaml"), "--store", "s", "--trials", "1"])
    with pytest.raises(SystemExit) as end:
        worker.main()
    assert end.value.code == DISK_FULL
    with pytest.raises(OSError, match="No space left"):
        work(study, plan, place, no_space, 1, None)
    assert [trial.state for trial in study.get_trials()] == [TrialState.RUNNING]

    class Pool:
        def __len__(self):
            return 1

        fill = stop = staticmethod(lambda *_: None)
        ended = staticmethod(lambda: [(DISK_FULL, tmp_path / "worker-0.txt")])

    with pytest.raises(InputError, match=r"the disk of .* is full: make space"):
        command._run(study, place, Pool(), None, 1, None)


def test_a_study_in_a_database(tmp_path):
    search, place = made(tmp_path)
    place = Place("stub", place.runs, f"sqlite:///{tmp_path}/study.db")
    begin(search, place, "d474")
    study = resume(search, place)
    work(study, search, place, stub_objective(search, place), 4, None)
    assert len(optuna.load_study(study_name="stub", storage=place.storage).trials) == 4


@pytest.mark.parametrize("storage", [None, "sqlite:///{}/other.db"])
def test_a_study_that_is_not_there_is_not_made_by_a_worker(tmp_path, storage):
    search, place = made(tmp_path)
    with pytest.raises(InputError, match="no study stub"):
        resume(search, Place("stub", place.runs, storage and storage.format(tmp_path)))


def test_a_storage_that_cannot_be_opened_is_named(tmp_path):
    search, place = made(tmp_path)
    with pytest.raises(InputError, match="cannot be opened"):
        begin(search, Place("stub", place.runs, "nosql://nowhere"), "d474")


def test_workers_on_one_study_do_not_overshoot(tmp_path):
    search, place = made(tmp_path)
    begin(search, place, "d474")
    script = textwrap.dedent(
        f"""
        import sys
        sys.path[:0] = {[os.getcwd(), "tests", "tests/benchmark"]!r}
        from pathlib import Path
        from stub_study import made, stub_objective
        from benchmark.tune.search import resume
        from benchmark.tune.worker import work
        search, place = made(Path({str(tmp_path)!r}))
        work(resume(search, place), search, place, stub_objective(search, place), 12, None)
        """
    )
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [p.wait() for p in processes] == [0, 0]
    trials = resume(search, place).get_trials()
    assert len(trials) == 12
    assert all(t.state.is_finished() for t in trials)


def test_load_search_is_what_a_worker_reads(tmp_path):
    search, _ = made(tmp_path)
    assert load_search(str(tmp_path / "stub.yaml"))[1] == search
