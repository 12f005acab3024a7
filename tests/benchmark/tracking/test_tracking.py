"""Tracking as it is on disk: what an offline run holds, and what happens without a server, key or wish."""

import contextlib
import json
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from bench_program import bench, bench_apart
from lone_test_folder import single_test
from PIL import Image
from recorded_runs import record
from tracked_runs import ID, environment, epochs, finished_run, inspect, records, track, trained_run

from benchmark.config.grid import load_grid
from benchmark.run_folder.folder import RunFolder
from benchmark.run_folder.reasons import Pruned
from benchmark.tracking import server, tracker
from benchmark.tracking.results import summary
from benchmark.tracking.tracker import LIMITS
from benchmark.tracking.uploaded import Uploaded, command, waiting_text

KEY = "a" * 40
ABSENT = "http://127.0.0.1:9"
ADVICE = "so this run is tracked offline; upload it later with: bench sync --grid tiny --runs"


@pytest.fixture
def folder(tmp_path):
    """A run of three epochs without results, which are what takes time to log."""
    return trained_run(tmp_path / "runs" / "tiny")


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A run tracked offline with its weights: the folder, what the process said, and the records."""
    place = tmp_path_factory.mktemp("offline")
    folder = finished_run(place / "runs" / "tiny")
    said = track(folder, place / "home", WANDB_LOG_MODEL="end")
    return folder, said, records(folder)


def media(offline, kind):
    """Path of each table or image by its name."""
    folder, _, found = offline
    (files,) = folder.path.glob("wandb/offline-run-*/files")
    item = [r["history"]["item"] for r in found if r["type"] == "history"][-1]
    names = [name.removesuffix("._type") for name, value in item.items() if value == kind]
    return {name: files / item[f"{name}.path"] for name in names}


def test_an_offline_run_says_what_it_is(offline):
    folder, (output, warnings), found = offline
    run = next(record["run"] for record in found if record["type"] == "run")
    assert (run["run_id"], run["run_group"], run["project"]) == (ID, "tiny", "passion-bench")
    assert run["job_type"] == "train"
    assert run["display_name"] == folder.path.name
    assert run["tags"] == ["phantom", "rfnet", "passion", "mr2468"]
    whole = json.loads(inspect(folder, "--summary"))
    assert whole["config"]["config"] == folder.config()["config"]
    assert whole["config"]["environments"][0]["commit"] == "c0ffee1234"
    assert whole["state"] == "finished"
    assert output == "tracked\n"
    (warning,) = warnings
    assert warning.startswith("W&B: there is no key for http")
    assert ADVICE in warning


def test_an_offline_run_has_every_epoch_over_our_own_step(offline):
    folder, _, found = offline
    assert epochs(found) == [tracker.flat(line) for line in folder.log()]
    assert epochs(found)[2]["modality/t2/beta"] == pytest.approx(0.88)
    metrics = [record["metric"] for record in found if record["type"] == "metric"]
    assert {"glob_name": "*", "step_metric": "epoch"}.items() <= metrics[-1].items()


def test_an_offline_run_has_the_scores_of_every_subset_and_region(offline):
    scores = json.loads(inspect(offline[0], "--summary"))["summary"]
    tested = {name: value for name, value in scores.items() if name.endswith(("/dice", "/hd95"))}
    assert len(tested) == (15 + 1) * 4 * 2
    # The last subset is that of all four; case 1 has 0.3 + 0.02 * 14 there, case 2 0.1 more.
    assert tested["test/WT/flair+t1ce+t1+t2/dice"] == pytest.approx(0.63)
    assert tested["test/WT/flair+t1ce+t1+t2/hd95"] == pytest.approx(30 * (1 - 0.63))
    assert tested["test/WT/average/dice"] == pytest.approx(0.3 + 0.02 * 7 + 0.05)


def test_an_offline_run_has_a_table_of_its_cases(offline):
    table = json.loads(media(offline, "table-file")["test/cases"].read_text())
    assert table["columns"] == [
        "case", "subset", *(f"{r} {m}" for r in ("WT", "TC", "ET", "ETpp") for m in ("Dice", "HD95"))
    ]  # fmt: skip
    assert len(table["data"]) == 2 * 15
    assert table["data"][0][:2] == ["case 1", "t2"]
    assert table["data"][-1][:2] == ["case 2", "flair+t1ce+t1+t2"]
    assert table["data"][-1][2] == pytest.approx(0.68)


def test_an_offline_run_has_pictures_of_slices_and_of_who_lacks_what(offline):
    images = media(offline, "image-file")
    assert set(images) == {"examples/worst", "examples/median", "examples/best", "availability/matrix"}
    for path in images.values():
        with Image.open(path) as picture:
            assert len(picture.convert("RGB").getcolors(2**24)) > 20
    table = json.loads(media(offline, "table-file")["availability/table"].read_text())
    assert table["columns"] == ["case", "flair", "t1ce", "t1", "t2"]
    assert table["data"] == [["a", "1", "0", "1", "1"], ["b", "1", "1", "noise-2", "0"]]


def test_the_weights_are_an_artifact_on_request_alone(offline, folder, tmp_path):
    artifacts = [r["artifact"] for r in offline[2] if r["type"] == "artifact"]
    (weights,) = [a for a in artifacts if a["type"] == "model"]
    assert weights["name"] == f"weights-{ID}"
    assert [entry["path"] for entry in weights["manifest"]["contents"]] == ["weights.safetensors"]
    track(folder, tmp_path / "home")
    assert not [r for r in records(folder) if r["type"] == "artifact" and r["artifact"]["type"] == "model"]


def test_a_run_that_was_cut_off_goes_on_with_no_epoch_twice(folder, tmp_path):
    lines = folder.log()
    folder.truncate_log(2)
    track(folder, tmp_path / "home", "killed")
    folder.truncate_log(1)  # the checkpoint was older than the last line
    for line in lines[1:]:
        folder.append_log(line)
    track(folder, tmp_path / "home")
    assert [item["epoch"] for item in epochs(records(folder))] == [0, 1, 2]


def test_epochs_that_were_logged_are_left_out(folder):
    run = Run(epoch=1)
    own = tracker.Tracker(run, folder, "")
    for line in folder.log():
        own.log_epoch(line)
    assert [item["epoch"] for item in run.logged] == [2]


def test_more_epochs_on_the_server_than_in_the_folder_are_told(folder, caplog):
    tracker.Tracker(Run(epoch=7), folder, "")
    (warning,) = [r.getMessage() for r in caplog.records]
    assert f"the server has 8 epochs of run {ID}, more than its folder" in warning


def test_disabled_writes_nothing(folder, tmp_path):
    output, warnings = track(folder, tmp_path / "home", WANDB_MODE="disabled")
    assert (output, warnings) == ("not tracked\n", [])
    assert not (folder.path / "wandb").exists()


def test_offline_on_request_is_told_too(folder, tmp_path):
    _, (warning,) = track(folder, tmp_path / "home", WANDB_MODE="offline", WANDB_API_KEY=KEY)
    assert warning.startswith(f"W&B: WANDB_MODE is offline, {ADVICE}")


class Never:
    """An HTTP server that answers the first `answers` requests and lets the others wait."""

    def __init__(self, answers):
        over = threading.Event()
        left = iter(range(answers))

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                if next(left, None) is None:
                    over.wait()
                    return
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"data": {}}')

            def log_message(self, *_):
                """Say nothing."""

        self._over = over
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._server.shutdown()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("WANDB_MODE", "Online", "Input should be 'online'"),
        pytest.param(
            "WANDB_PROJECT", "my/project", "Invalid project name 'my/project'", marks=pytest.mark.long
        ),
        pytest.param("WANDB_BASE_URL", "127.0.0.1:9", "Input should be a valid URL", marks=pytest.mark.long),
        pytest.param("WANDB_API_KEY", "a key", "WANDB_API_KEY invalid", marks=pytest.mark.long),
    ],
)
def test_a_setting_that_wandb_refuses_means_offline_and_is_told_in_one_line(
    folder, tmp_path, variable, value, said
):
    with Never(answers=9) as there:
        variables = {"WANDB_BASE_URL": there.url, "WANDB_API_KEY": KEY, variable: value}
        output, (warning,) = track(folder, tmp_path / "home", **variables)
    assert output == "tracked\n"
    assert said in warning
    assert ADVICE in warning
    assert len(epochs(records(folder))) == 3
    text = waiting_text([folder])
    assert text.startswith("1 tracked offline (")
    assert said in text
    assert "\n" not in text


def test_no_server_means_offline(folder, tmp_path):
    _, (warning,) = track(folder, tmp_path / "home", WANDB_BASE_URL=ABSENT, WANDB_API_KEY=KEY)
    assert warning.startswith(f"W&B: {ABSENT} does not answer, {ADVICE}")
    assert len(epochs(records(folder))) == 3


def test_a_server_that_takes_the_call_and_never_answers_means_offline(folder, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        _, (warning,) = track(folder, tmp_path / "home", WANDB_BASE_URL=url, WANDB_API_KEY=KEY)
    assert warning.startswith(f"W&B: {url} does not answer, {ADVICE}")
    assert len(epochs(records(folder))) == 3


def test_a_server_that_hangs_after_its_first_answer_means_offline(folder, tmp_path):
    with Never(answers=1) as hung:
        _, (warning,) = track(folder, tmp_path / "home", WANDB_BASE_URL=hung.url, WANDB_API_KEY=KEY)
    assert "does not answer" not in warning
    assert ADVICE in warning
    assert len(epochs(records(folder))) == 3
    assert not Uploaded.of(folder.path).epochs


def test_a_server_costs_at_most_ten_seconds():
    assert server.PROBE_SECONDS + sum(LIMITS.values()) <= 10


class Run:
    """As much of W&B's run as a tracker needs."""

    id = ID

    def __init__(self, broken=False, **summary):
        self.summary = summary
        self.logged = []
        self.artifacts = []
        self.exit_codes = []
        self._broken = broken

    def log(self, line):
        if self._broken:
            raise RuntimeError("disk\nfull")
        self.logged.append(line)

    def log_artifact(self, artifact):
        self.artifacts.append(("made", artifact.name))

    def _log_artifact(self, artifact, is_user_created, use_after_commit):
        self.artifacts.append(("used", artifact.name))

    def finish(self, exit_code):
        self.exit_codes.append(exit_code)


def test_trouble_is_one_warning_and_no_error(folder, caplog):
    own = tracker.Tracker(Run(broken=True), folder, "")
    for line in folder.log():
        own.log_epoch(line)
    own.finish()
    assert [r.getMessage() for r in caplog.records] == [
        "W&B: tracking ends here, the run goes on (disk full)"
    ]
    assert waiting_text([folder]).startswith("1 tracked offline (disk full), upload with")


def test_a_trial_is_one_of_its_study_with_the_scores_of_its_validation(folder, tmp_path):
    (single_test(folder) / "cases.csv").rename(folder.path / "validation.csv")
    shutil.rmtree(folder.path / "tests")
    (folder.path.parent / "study").mkdir()
    track(folder, tmp_path / "home")
    run = next(record["run"] for record in records(folder) if record["type"] == "run")
    assert (run["job_type"], run["run_group"]) == ("trial", "tiny")
    scores = json.loads(inspect(folder, "--summary"))["summary"]
    assert scores["validation/WT/flair+t1ce+t1+t2/dice"] == pytest.approx(0.63)
    assert scores["validation/cases"]["nrows"] == 2 * 15
    assert not any(name.startswith("test/") for name in scores)


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 0), (Pruned("hopeless"), 0), (ValueError("the loss is nan"), 1), (KeyboardInterrupt(), 255)],
)
def test_however_a_run_ends_its_tracking_is_closed(folder, error, code):
    run = Run()
    ends = contextlib.nullcontext() if error is None else pytest.raises(type(error))
    with ends, tracker.Tracker(run, folder, ""):
        if error:
            raise error
    assert run.exit_codes == [code]
    assert run.artifacts == [("used", "data-phantom"), ("made", f"scores-{ID}")]


def test_an_id_is_one_for_each_grid_and_without_what_wandb_refuses():
    ids = [server.run_id({"hash": "0123456789", "grid": grid}) for grid in ("tiny", "what?/:ever", "g" * 99)]
    assert ids == ["0123456789-tiny", "0123456789-what---ever", f"0123456789-{'g' * 53}"]


def test_means_without_a_value_are_left_out(tmp_path):
    header = "case,subset,region,metric,policy,value"
    rows = ["NA,t1,WT,dice,p,0.5", "007,t1,WT,dice,p,1.0", "NA,t2,WT,dice,p,nan", "NA,t1,WT,hd95,p,3.0"]
    test = RunFolder(tmp_path).test("only")
    test.begin({})
    test.cases.write_text("\n".join([header, *rows, ""]))
    test.mark_done()
    assert summary(tmp_path) == {
        "test/WT/t1/dice": 0.75,
        "test/WT/t1/hd95": 3.0,
        "test/WT/average/hd95": 3.0,
    }


def test_what_is_uploaded_is_remembered(folder):
    there = Uploaded("http://here/p", 3, results=True, weights=False)
    (folder.path / "wandb").mkdir()
    assert waiting_text([folder, RunFolder(folder.path / "absent")]).startswith("1 tracked offline, upload")
    Uploaded(offline="there is no key").save(folder.path)
    assert waiting_text([folder]).startswith("1 tracked offline (there is no key), upload")
    assert Uploaded.of(folder.path).lacks(Uploaded("http://here/p", 3, results=True))
    there.save(folder.path)
    assert Uploaded.of(folder.path) == there
    assert waiting_text([folder]) == ""
    assert not there.lacks(Uploaded("http://here/p", 3, results=True))
    assert there.lacks(Uploaded("http://here/p", 4))
    assert there.lacks(Uploaded("http://here/p", 3, weights=True))
    assert there.lacks(Uploaded("http://elsewhere/p", 3))
    (folder.path / "wandb" / "uploaded.json").write_text("{")
    assert Uploaded.of(folder.path) == Uploaded()


def test_the_command_names_the_place_of_the_runs_if_it_is_not_the_usual_one(tmp_path):
    assert command(tmp_path / "tiny" / "run") == f"bench sync --grid tiny --runs {tmp_path}"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "there is no key for"),
        (
            {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": KEY},
            "http://127.0.0.1:9 does not answer",
        ),
    ],
)
def test_sync_says_what_it_lacks(tmp_path, monkeypatch, variables, said):
    record(tmp_path / "runs" / "tiny", "passion")
    (tmp_path / "home").mkdir()
    for name, value in environment(tmp_path / "home", **variables).items():
        monkeypatch.setenv(name, value)
    result = bench_apart("sync", "--grid", "tiny", "--runs", tmp_path / "runs")
    assert result.returncode == 2
    assert said in result.stderr
    assert "1 run can not be uploaded now" in result.stderr


def test_sync_and_status_say_what_wandb_refuses(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "runs" / "smoke" / load_grid("smoke").configs[0].folder)
    folder.write_config({})
    folder.append_log({"epoch": 0})
    Uploaded(offline="no such mode").save(folder.path)
    status = bench("status", "--grid", "smoke", "--runs", tmp_path / "runs")
    assert "1 tracked offline (no such mode), upload with: bench sync --grid smoke" in status.stdout
    monkeypatch.setenv("WANDB_MODE", "Online")
    result = bench_apart("sync", "--grid", "smoke", "--runs", tmp_path / "runs")
    assert result.returncode == 2
    assert "Input should be 'online'" in result.stderr
    assert "correct W&B's variables (WANDB_...)" in result.stderr


def test_sync_of_no_runs_is_an_error(tmp_path):
    result = bench("sync", "--grid", "tiny", "--runs", tmp_path)
    assert result.returncode == 2
    assert f"no runs at {tmp_path / 'tiny'}: start them with 'bench run', given the grid's" in result.stderr
