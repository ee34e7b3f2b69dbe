"""The engine: nothing that was measured is lost, whatever is killed and whenever."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from rgkit import cli
from rgkit.runs.config import Classification
from rgkit.runs.grid import Grid, cross, in_order
from rgkit.runs.records import Merged, Record, Store, append, digest
from rgkit.train import execute
from rgkit.train.device import device_name, turn
from rgkit.train.execute import Pool
from rgkit.train.perform import Checkpoint, How, perform
from rgkit.train.progress import Estimator, Progress, cost

RUN = Classification(
    data="digits", images=256, model="resnet8(4)", epochs=12, batch=32, momentum=0.9,
    weight="uniform(0, 1)",
)  # fmt: skip
WAY = f"plain {device_name('cpu')}"  # in which way a run is performed here
TINY = RUN.replace(images=64, model="resnet8(2)", epochs=1)


def run_missing(configs: list[Classification], store: Store, **options: object) -> Pool:
    return Pool(store, **{"device": "cpu", "show": False} | options).run(configs)


def checkpoints(root: Path) -> list[Path]:
    return [path for path in root.glob("checkpoints/*/*") if path.is_file()]


# --- checkpoints ----------------------------------------------------------------------------


def last_written(root: Path) -> int:
    """When the last checkpoint was written; 0 where there is none."""
    with contextlib.suppress(FileNotFoundError):  # it has just gone with its record
        return max((path.stat().st_mtime_ns for path in root.glob("checkpoints/*/*.pt")), default=0)
    return 0


def _train_in_child(root: str, config: Classification) -> None:
    run_missing([config], Store(root), jobs=1, every=0)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a fork server")
def test_killed_twenty_times_at_random_moments_it_ends_with_the_same_numbers(tmp_path):
    """The child is killed with SIGKILL: it can clean up nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rgkit.train.perform", "rgkit.tasks.classification"])
    configs = [RUN.replace(seed=seed, epochs=60) for seed in range(40)]
    store, moments, kills, at = Store(tmp_path), random.Random(1), 0, 0
    while kills < 20:
        child = context.Process(target=_train_in_child, args=(str(tmp_path), configs[at]))
        before = last_written(tmp_path)
        child.start()
        while kills % 2 and child.is_alive() and last_written(tmp_path) == before:
            time.sleep(0.01)  # each second child gets on, however slow the machine is
        child.join(moments.uniform(0.05, 0.8))
        if child.exitcode is None:
            child.kill()
            kills += 1
            child.join()
        assert child.exitcode in (0, -signal.SIGKILL)
        at += store.get(configs[at]) is not None
    resumed = 0
    for config in configs[: at + 1]:
        _train_in_child(str(tmp_path), config)
        found, whole = store.get(config), perform(config, How("cpu"))
        assert found.as_dict()["epochs"] == whole.as_dict()["epochs"]
        resumed += found.source.get("resumed", 0)
    assert resumed >= 5  # the kills hit runs that had a checkpoint
    assert checkpoints(tmp_path) == []


def test_at_the_time_limit_a_run_is_checkpointed_and_taken_up_again(tmp_path):
    store, long = Store(tmp_path), RUN.replace(epochs=400)
    short = RUN.replace(epochs=8)
    assert run_missing([long], store, time_limit=0.5).stopped == [long]
    assert store.get(long) is None
    assert len(checkpoints(tmp_path)) == 1
    state = Checkpoint(store, long, way=WAY).load("cpu")
    assert 1 <= len(state["epochs"]["test_loss"]) < 400
    # The same, small enough to be ended: stopped after its third epoch.
    asked = []
    done = run_missing(
        [short],
        store,
        jobs=1,
        stop=lambda: len(asked) >= 4 or asked.append(1),
    )
    assert done.stopped == [short]
    assert run_missing([short], store, jobs=1).finished == [short]
    whole = perform(short, How("cpu"))
    assert store.get(short).epochs == whole.as_dict()["epochs"]
    assert store.get(short).source["resumed"] == 1


def test_nothing_is_begun_that_cannot_end_in_time(tmp_path):
    store = Store(tmp_path)
    run_missing([TINY], store)
    long = TINY.replace(epochs=10**6)  # of the same kind, so its time is known
    other = TINY.replace(seed=1)
    done = run_missing([long, other], store, jobs=1, time_limit=60)
    assert (done.left, done.finished) == ([long], [other])
    assert run_missing([TINY.replace(seed=2)], store, time_limit=-1).finished == []


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "flipped"])
def test_a_damaged_checkpoint_starts_the_run_over_and_says_so(tmp_path, damage, capsys):
    store = Store(tmp_path)
    kept = Checkpoint(store, RUN, 0, WAY)
    run_missing([RUN], store, jobs=1, every=0, time_limit=0.2)
    data = kept.path.read_bytes()
    if damage == "other":
        Checkpoint(store, TINY, way=WAY).save({"epochs": {}})
        data = Checkpoint(store, TINY, way=WAY).path.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1  # among the weights: torch itself would load it
    damaged = {"cut": data[: len(data) // 2], "empty": b"", "other": data, "flipped": flipped}
    kept.path.write_bytes(damaged[damage])
    assert run_missing([RUN], store, jobs=1).finished == [RUN]
    assert "no readable checkpoint" in capsys.readouterr().err
    assert store.get(RUN).epochs == perform(RUN, How("cpu")).as_dict()["epochs"]


@pytest.mark.parametrize("lost", ["net", "resumed", "step"])
def test_a_checkpoint_that_does_not_fit_starts_the_run_over_and_says_so(tmp_path, lost, capsys):
    store = Store(tmp_path)
    kept = Checkpoint(store, RUN, 0, WAY)
    run_missing([RUN], store, jobs=1, every=0, time_limit=0.2)
    state = kept.load("cpu")
    kept.save({name: value for name, value in state.items() if name not in (lost, "key")})
    assert run_missing([RUN], store, jobs=1).finished == [RUN]
    assert "a checkpoint that does not fit" in capsys.readouterr().err
    assert store.get(RUN).epochs == perform(RUN, How("cpu")).as_dict()["epochs"]


def test_a_checkpoint_that_cannot_be_written_costs_no_run(tmp_path, monkeypatch, capsys):
    def full(state: object, file: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.save", full)
    assert run_missing([RUN], Store(tmp_path), jobs=1, every=0).finished == [RUN]
    assert "no checkpoint ([Errno 28] No space left" in capsys.readouterr().err
    assert checkpoints(tmp_path) == []


def test_a_checkpoint_holds_no_code(tmp_path):
    """weights_only: a file that would run code when it is loaded is refused."""

    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    kept = Checkpoint(Store(tmp_path), RUN)
    kept.save({"epochs": Evil()})
    assert kept.load("cpu") is None
    assert not (tmp_path / "ran").exists()


# --- several at once ------------------------------------------------------------------------


def test_a_killed_worker_costs_no_run(tmp_path):
    configs, store, killed = (
        [TINY.replace(seed=s, epochs=40) for s in range(3)],
        Store(tmp_path),
        [],
    )

    def kill_one() -> bool:
        if not killed and checkpoints(tmp_path):
            killed.append(multiprocessing.active_children()[0].pid)
            os.kill(killed[0], signal.SIGKILL)
        return False

    done = run_missing(configs, store, jobs=2, every=0, stop=kill_one)
    assert killed
    assert (set(done.finished), done.failed) == (set(configs), {})
    whole = perform(configs[0], How("cpu")).as_dict()["epochs"]
    assert store.get(configs[0]).epochs == whole
    assert checkpoints(tmp_path) == []


def test_a_run_that_kills_its_process_fails_alone(tmp_path, monkeypatch):
    """What a run that needs too much memory does to its neighbours: nothing."""
    bad, good = TINY.replace(epochs=10**6), TINY.replace(seed=1, epochs=5)
    store = Store(tmp_path)

    def kill_the_bad_one() -> bool:
        for path in checkpoints(tmp_path):
            if path.name.startswith(Checkpoint(store, bad).key):
                path.unlink(missing_ok=True)
                for child in multiprocessing.active_children():
                    os.kill(child.pid, signal.SIGKILL)
        return False

    two = [bad, good]
    done = run_missing(two, store, jobs=2, every=0, stop=kill_the_bad_one)
    assert done.finished == [good]
    assert "killed twice" in done.failed[bad]


ENDLESS = """
import multiprocessing, sys
from pathlib import Path
from rgkit.runs.config import Classification
from rgkit.train import execute
from rgkit.train.execute import Pool
from rgkit.runs.records import Store

def stop():
    if len(list(Path(sys.argv[1]).glob("checkpoints/*/*.pt"))) == 2:  # they are at work
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    return False

if __name__ == "__main__":
    base = Classification(data="digits", images=64, model="resnet8(2)", epochs=10**4)
    two = [base, base.replace(seed=1)]
    Pool(Store(sys.argv[1]), "cpu", jobs=2, every=0, stop=stop, show=False).run(two)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_workers_end_with_their_parent(tmp_path):
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    with subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE) as parent:
        workers: list[bytes] = []
        while len(workers) < 2:
            workers = parent.stdout.readline().split()
        parent.kill()
    for _ in range(100):
        alive = [pid for pid in workers if Path("/proc", pid.decode()).is_dir()]
        if not alive:
            break
        time.sleep(0.1)
    assert alive == []


def test_a_run_that_fails_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    bad, good = TINY.replace(images=5000), TINY
    done = run_missing([bad, good], Store(tmp_path), jobs=1, show=True)
    assert done.finished == [good]
    assert "images=5000 given; digits has 1,500" in done.failed[bad]
    assert "FAILED" in capsys.readouterr().err
    again = run_missing([bad, good], Store(tmp_path / "b"), jobs=2)
    assert (again.finished, list(again.failed)) == ([good], [bad])


@pytest.mark.skipif(sys.platform == "win32", reason="needs fcntl")
def test_processes_take_turns_on_a_gpu_and_none_on_a_cpu(tmp_path, monkeypatch):
    import fcntl

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with turn(torch.device("cpu")):
        assert list(tmp_path.iterdir()) == []
    with turn(torch.device("cuda")):
        (lock,) = tmp_path.iterdir()
        with lock.open("w") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free again


def test_a_gpu_has_one_lock_whatever_its_number_here(tmp_path, monkeypatch, capsys):
    """Under CUDA_VISIBLE_DEVICES the same number is another GPU; and who waits says so."""
    import threading

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("GPU-a", "GPU-b"):
        monkeypatch.setattr("rgkit.train.device._which", lambda device, name=name: name)
        with turn(torch.device("cuda")):
            pass
    assert len(list(tmp_path.iterdir())) == 2
    with turn(torch.device("cuda")):
        waiting = threading.Thread(target=lambda: turn(torch.device("cuda")).__enter__())
        waiting.start()
        for _ in range(100):
            if "waiting for another process" in (said := capsys.readouterr().err):
                break
            time.sleep(0.05)
        assert "waiting for another process that trains on this GPU" in said
    waiting.join(10)
    assert not waiting.is_alive()


def test_each_way_of_performing_a_run_goes_on_from_its_own_checkpoint(tmp_path):
    """Another device or step begins anew, and does not cost the first one what it has."""
    store = Store(tmp_path)
    begin = How("cpu", "plain", store, every=0)
    calls = iter([False, False, True])
    assert perform(RUN, begin, stop=lambda: next(calls)) is None
    other = How("cpu", "captured", store, every=0)
    calls = iter([True])
    assert perform(RUN, other, stop=lambda: next(calls)) is None
    assert len(checkpoints(tmp_path)) == 2
    assert Checkpoint(store, RUN).begun
    told = []
    record = perform(RUN, begin, lambda *state: told.append(state))
    losses = record.epochs["train_loss"]
    assert told[:2] == [(3 / RUN.epochs, losses[2]), (4 / RUN.epochs, losses[3])]
    assert told[-1] == (1.0, losses[-1])
    assert record is not None
    assert record.source["resumed"] == 1
    Checkpoint(store, RUN).remove()
    assert checkpoints(tmp_path) == []


def test_a_checkpoint_whose_run_another_process_ended_meanwhile_is_no_error(tmp_path, monkeypatch):
    kept = Checkpoint(Store(tmp_path), RUN)
    replace = os.replace
    monkeypatch.setattr("os.replace", lambda a, b: (kept.remove(), replace(a, b)))
    kept.save({"epochs": {}})
    assert checkpoints(tmp_path) == []


def test_what_was_begun_is_taken_up_however_little_time_is_left(tmp_path):
    """Its estimate is for the whole run; nobody knows how much of it is done."""
    store = Store(tmp_path)
    estimate = Estimator([], None)
    estimate.learn(RUN, 0.01, 1000.0)
    long = RUN.replace(seed=5)
    pool = Pool(store, device="cpu", time_limit=60)
    pool.estimate, pool.progress = estimate, Progress([RUN, long], estimate)
    Checkpoint(store, long).save({"epochs": {}})
    assert list(pool.waiting([RUN, long])) == [long]
    assert pool.left == [RUN]


def test_a_file_system_without_links_loses_nothing(tmp_path, monkeypatch):
    record = perform(TINY, How("cpu"))
    assert record is not None

    def refuse(*given: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    store = Store(tmp_path)
    path = store.put(record)
    assert store.put(record) == path
    assert [r.key for r in store] == [record.key]
    assert store.read(path).epochs.keys() == record.epochs.keys()
    assert [p.name for p in tmp_path.rglob("*.*")] == [path.name]


def fails(*given: object) -> None:
    raise OSError(28, "full")


@pytest.mark.parametrize("broken", ["store", "archive"])
def test_one_place_has_what_the_other_could_not_take(tmp_path, monkeypatch, broken):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if broken == "store":
        monkeypatch.setattr(Store, "put", fails)
    else:
        kept = append
        monkeypatch.setattr(
            "rgkit.train.execute.append",
            lambda path, record: fails() if path.name == "out.jsonl" else kept(path, record),
        )
    store, out = Store(tmp_path / "results"), tmp_path / "out.jsonl"
    with pytest.raises(OSError, match=r"full; the record is in .*rgkit-rescued.jsonl"):
        run_missing([TINY], store, out=out)
    assert len(list(store)) == (broken == "archive")
    assert out.is_file() == (broken == "store")
    monkeypatch.undo()
    assert Store(tmp_path / "new").merge(tmp_path / "rgkit-rescued.jsonl") == Merged(added=1)


def test_a_full_disk_without_links_leaves_no_record_and_no_part(tmp_path, monkeypatch):
    record = perform(TINY, How("cpu"))
    monkeypatch.setattr("os.link", fails)
    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(OSError, match="full"):
        Store(tmp_path).put(record)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


SHORT = """
import resource, signal, sys
from pathlib import Path
from rgkit.runs.records import Store, append
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    append(Path(sys.argv[2]), next(iter(Store(sys.argv[1]))))
except OSError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_an_archive_that_takes_half_a_record_says_so(packed, tmp_path):
    """The system writes as much as it can, and only the next try fails."""
    _, store, _ = packed
    words = [sys.executable, "-c", SHORT, store.root, tmp_path / "small.jsonl"]
    assert "File too large" in subprocess.run(words, capture_output=True, text=True).stdout


def test_a_store_that_cannot_be_written_is_found_out_first(tmp_path, monkeypatch, capsys):
    (tmp_path / "results").write_text("a file where a folder is wanted")
    monkeypatch.setenv("RGKIT_RESULTS", str(tmp_path / "results"))
    assert cli.main(["run", "--plan", "--profile", "smoke", "--only", "cost"]) == 1
    said = capsys.readouterr().err
    assert "no record can be written there (" in said
    assert "runs on" not in said


@pytest.mark.parametrize("damage", ["empty", "changed", "renamed"])
@pytest.mark.parametrize("verb", [["plan"], ["run", "--plan"]])
def test_a_record_that_is_not_what_was_written_counts_nowhere(
    tmp_path, monkeypatch, capsys, damage, verb
):
    monkeypatch.setenv("RGKIT_RESULTS", str(tmp_path))
    words = ["--profile", "smoke", "--only", "csgd-table3"]
    assert cli.main(["run", "--plan", *words]) == 0
    first, second = sorted(tmp_path.glob("*/*.json"))[:2]
    text = {"empty": "", "changed": first.read_text().replace("finished", "diverged")}
    first.write_text(text.get(damage, second.read_text()))
    capsys.readouterr()
    assert cli.main([*verb, *words]) == 1
    assert f"{first}: " in capsys.readouterr().err


# --- several processes on one store -----------------------------------------------------------


def _share(root: str, configs: list[Classification], found: object) -> None:
    found.put([c.seed for c in run_missing(configs, Store(root), jobs=1).finished])


SCRIPT = """
import sys
from rgkit.runs.config import Classification
from rgkit.runs.records import Store
from rgkit.train.execute import Pool
print("begun")
tiny = Classification(data="digits", images=64, model="resnet8(2)", epochs=1)
pool = Pool(Store(sys.argv[1]), "cpu", jobs=2, show=False).run([tiny, tiny.replace(seed=1)])
print(len(pool.finished), __file__ == sys.argv[0])
"""


def test_a_script_without_a_main_guard_trains_in_processes(tmp_path):
    """Such as nbconvert makes of a notebook."""
    (tmp_path / "script.py").write_text(SCRIPT)
    words = [sys.executable, tmp_path / "script.py", tmp_path / "results"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("begun\n2 True\n", "")


def test_two_plans_on_one_store_do_nothing_twice(tmp_path):
    """And each ends when all is there: what follows may need it."""
    configs = [TINY.replace(seed=seed, epochs=3) for seed in range(8)]
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    two = [context.Process(target=_share, args=(str(tmp_path), configs, found)) for _ in "ab"]
    for process in two:
        process.start()
    done = [found.get(timeout=120) for _ in two]
    for process in two:
        process.join()
    assert sorted(seed for seeds in done for seed in seeds) == list(range(8))
    assert len(list(Store(tmp_path))) == 8
    assert not (tmp_path / "repeats").exists()
    assert list(tmp_path.glob("checkpoints/*")) == []


def test_a_record_with_nan_is_merged_once(tmp_path):
    record = perform(TINY, How("cpu"))
    assert record is not None
    record.epochs["test_loss"][-1] = float("nan")
    store = Store(tmp_path)
    assert store.put(record) == store.put(record)
    assert not (tmp_path / "repeats").exists()


# --- the order and the clock ----------------------------------------------------------------


def test_the_plan_takes_priorities_then_seeds_then_whole_blocks():
    axes = {"arm": ["plain", "RG"], "momentum": [0.5, 0.9], "seed": [0, 1]}
    first = Grid(cross(RUN.replace(weight="constant(1)"), axes, priority=1))
    urgent = Grid(cross(RUN.replace(lr=0.7), {"arm": ["RG"], "seed": [1]}, priority=0))
    order = [(c.lr, c.seed, c.momentum, c.weight[0]) for c in in_order([first, urgent])]
    assert order == [
        (0.7, 1, 0.9, "u"),
        *[(0.1, s, m, w) for s in (0, 1) for m in (0.5, 0.9) for w in "cu"],
    ]


def test_the_estimate_is_of_this_device_and_what_is_under_way_outweighs_it(tmp_path):
    def recorded(seconds: float, device: str, seed: int) -> Record:
        where = {"seconds": seconds, "device": device}
        return Record("k", RUN.replace(seed=seed), "f", "finished", {}, where)

    records = [recorded(s, "GPU", n) for n, s in enumerate((1, 3, 2))] + [recorded(60, "CPU", 4)]
    fast, slow = Estimator(records, "GPU"), Estimator(records, "CPU")
    assert fast.seconds(RUN) == pytest.approx(2)
    assert slow.seconds(RUN.replace(epochs=24)) == pytest.approx(120)
    assert slow.seconds(RUN.replace(model="resnet18")) is None
    slow.learn(RUN, 0.5, 10)
    assert slow.seconds(RUN) == pytest.approx(20)


@pytest.mark.parametrize("how", ["failed", "diverged"])
def test_a_run_that_was_cut_short_teaches_no_speed(how):
    estimate = Estimator([], None)
    estimate.learn(RUN, 0.5, 500.0)
    before = estimate.seconds(RUN)
    progress = Progress([RUN, RUN.replace(seed=5)], estimate)
    progress.tell(RUN, 0.0)
    progress.end(RUN, how, whole=False)
    assert estimate.seconds(RUN) == before
    assert progress.remaining() == (before, 0)


def test_the_remaining_time_counts_what_is_left_over_all_jobs():
    configs = [RUN.replace(seed=s) for s in range(4)]
    estimate = Estimator(())
    progress = Progress(configs, estimate, 2)
    assert progress.remaining() == (0, 4)
    estimate.learn(RUN, 1.0, 100.0)
    assert progress.remaining() == (pytest.approx(200), 0)
    progress.parts[configs[0]] = 0.5
    assert progress.remaining() == (pytest.approx(175), 0)
    progress.drop(configs[1])
    assert progress.remaining() == (pytest.approx(125), 0)
    assert cost(RUN.replace(epochs=24)) == 2 * cost(RUN)


def test_runs_of_a_speed_not_known_yet_are_counted_beside_the_time_of_the_others():
    estimate = Estimator(())
    progress = Progress([RUN, RUN.replace(model="resnet18")], estimate)
    assert progress.left() == "2 runs of a speed not known yet to go"
    estimate.learn(RUN, 1.0, 100.0)
    assert progress.left() == "about 2 min and 1 run of a speed not known yet to go"
    progress.parts[RUN] = 1.0
    assert progress.left() == "1 run of a speed not known yet to go"
    progress.drop(RUN.replace(model="resnet18"))
    assert progress.left() == "about 0 s to go"


def test_a_log_hears_at_once_what_will_be_done_and_then_once_in_a_while(monkeypatch, capsys):
    monkeypatch.setattr("rgkit.train.progress.PAUSE", -1.0)
    progress = Progress([RUN, RUN.replace(seed=1)], Estimator(()), 1, show=True)
    for part in (0.0, 0.5):
        progress.tell(RUN, part)
    said = capsys.readouterr().err.splitlines()
    first = "2 runs on digits, 1 at a time; 2 runs of a speed not known yet to go"
    assert said[:2] == [first, "0 % of 2 runs; 2 runs of a speed not known yet to go"]
    assert said[2].startswith("25 % of 2 runs; about")
    progress.end(RUN, "71.00 %, 3 s")
    assert "[1/2] data=digits, " in capsys.readouterr().err


# --- archives -------------------------------------------------------------------------------


@pytest.fixture
def packed(tmp_path):
    """An archive of two records, and the store that they were written to."""
    out, store = tmp_path / "there" / "runs.jsonl", Store(tmp_path / "there" / "results")
    configs = [TINY, TINY.replace(seed=1)]
    run_missing(configs, store, jobs=1, out=out)
    return out, store, configs


def test_an_archive_brings_records_to_another_machine(packed, tmp_path):
    out, there, configs = packed
    here = Store(tmp_path / "here")
    assert here.merge(out) == Merged(added=2)
    assert here.merge(out) == Merged(known=2)
    assert Store(tmp_path / "third").merge(there.root) == Merged(added=2)
    loose = there.root / TINY.task  # the files alone, as somebody would send them
    assert Store(tmp_path / "fourth").merge(loose) == Merged(added=2)
    for config in configs:
        assert here.path(config).read_bytes() == there.path(config).read_bytes()


def test_a_benchmark_beside_the_records_is_no_record(packed, tmp_path):
    _, there, _ = packed
    (there.root / "bench").mkdir()
    (there.root / "bench" / "abacus.1.json").write_text("{}")
    assert len(list(there)) == 2
    assert Store(tmp_path / "here").merge(there.root) == Merged(added=2)


def test_other_numbers_for_a_known_run_are_kept_beside_it(packed, tmp_path):
    out, there, _ = packed
    text = out.read_text().splitlines()[0]
    found = json.loads(text)
    found["epochs"]["test_accuracy"] = [99.0]
    del found["digest"]
    out.write_text(json.dumps(found) + "\n")
    assert there.merge(out) == Merged(repeats=1)
    assert len(list(there.root.glob("repeats/*.json"))) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"numerics": 0}, "numerics version 0, this is version 1"),
        ({"fingerprint": "0" * 16}, "data fingerprint 0000000000000000, here the data have"),
        ({"key": "0" * 16}, "its key 0000000000000000 is not that of its config"),
        ({"config": {"task": "classification", "lrr": 1}}, "its config cannot be run here"),
        ({"config": {"task": "cooking"}}, "its config cannot be run here: task='cooking'"),
        ({"status": "running"}, "status 'running'"),
        ({"epochs": {"test_accuracy": [1.0, 2.0]}}, "finished, but with [2] epochs of 1"),
        ({"source": None}, "does not say what was measured and where"),
        ({"source": {"device": "abacus"}}, "its source does not say the commit"),
        ({"diverged_at": "soon"}, "diverged_at 'soon'; a step, or null"),
        ({"epochs": {"test_accuracy": ["9"]}}, "its epochs are not lists of numbers"),
        ({"epochs": {"test_accuracy": [10**400]}}, "its epochs are not lists of numbers"),
        ({"epochs": {"bogus": [1.0]}}, "finished, but without test_accuracy"),
    ],
)
def test_what_disagrees_is_refused_with_the_reason_and_the_rest_is_merged(
    packed, tmp_path, change, reason
):
    out, _, _ = packed
    first, second = out.read_text().splitlines()
    changed = json.loads(first) | change
    out.write_text(json.dumps(changed | {"digest": digest(changed)}) + "\n" + second + "\n")
    merged = Store(tmp_path / "here").merge(out)
    assert merged.added == 1
    assert len(merged.refused) == 1
    assert merged.refused[0].startswith(f"{out}: line 1: ")
    assert reason in merged.refused[0]


def test_a_bad_byte_or_a_null_spoils_no_other_line(packed, tmp_path):
    out, _, _ = packed
    first, second = out.read_bytes().splitlines()
    spoilt = first.replace(b"finished", b"fin\xffshed"), b"null", first.replace(b"0.1", b"0.2", 1)
    spoilt += (b"[" * 100_000,)
    out.write_bytes(b"\n".join([*spoilt, second, b""]))
    merged = Store(tmp_path / "here").merge(out)
    assert merged.added == 1
    for line, (said, why) in enumerate(
        zip(merged.refused, ("decode", "whole", "digest", "whole"), strict=True)
    ):
        assert said.startswith(f"{out}: line {line + 1}: ")
        assert why in said


def test_half_a_line_spoils_no_other(packed, tmp_path):
    """A writer that was killed in the middle, and one that went on after it."""
    out, there, configs = packed
    data = out.read_bytes()
    out.write_bytes(data[: len(data) - 100])
    append(out, there.get(configs[1]))
    merged = Store(tmp_path / "here").merge(out)
    assert (merged.added, len(merged.refused)) == (2, 1)
    assert "line 2: not a whole record" in merged.refused[0]


# --- the command line -----------------------------------------------------------------------


def test_merge_on_the_command_line(packed, tmp_path, monkeypatch, capsys):
    out, _, _ = packed
    monkeypatch.setenv("RGKIT_RESULTS", str(tmp_path / "here"))
    assert cli.main(["results", "merge", str(out)]) == 0
    assert "2 records added" in capsys.readouterr().out
    with out.open("a") as file:
        file.write("{}\n")
    assert cli.main(["results", "merge", str(out)]) == 1
    said = capsys.readouterr()
    assert "2 known" in said.out
    assert "REFUSED" in said.err
    assert "line 3" in said.err
    assert cli.main(["results", "merge", str(tmp_path / "nowhere")]) == 2
    assert "there is no such archive" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert cli.main(["results", "merge", str(tmp_path / "empty")]) == 2
    assert "it holds no record" in capsys.readouterr().err


def test_the_plan_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RGKIT_RESULTS", str(tmp_path / "results"))
    words = ["run", "--plan", "--profile", "smoke", "--only", "fig5", "--jobs", "1"]
    out = tmp_path / "out.jsonl"
    assert cli.main([*words, "--out", str(out)]) == 0
    said = capsys.readouterr()
    runs = len(list((tmp_path / "results").glob("classification/*.json")))
    assert runs >= 4
    assert f"{runs} runs: 0 were recorded, {runs} trained now" in said.out
    assert f"[{runs}/{runs}]" in said.err
    assert len(out.read_text().splitlines()) == runs
    assert cli.main(words) == 0
    assert f"{runs} runs: {runs} were recorded, 0 trained now" in capsys.readouterr().out


def test_a_smoke_test_of_the_plan_leaves_no_records(monkeypatch, capsys):
    from rgkit.runs.records import default_root

    monkeypatch.delenv("RGKIT_RESULTS", raising=False)
    before = set(default_root().rglob("*"))
    assert cli.main(["run", "--plan", "--profile", "smoke", "--only", "cost", "--jobs", "1"]) == 0
    assert "1 trained now" in capsys.readouterr().out
    assert set(default_root().rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--jobs", "0"], "'0' given; a whole number of 1 or more"),
        (["--time-limit", "-5"], "'-5' given; seconds, such as 3000"),
        (["--time-limit", "soon"], "'soon' given; seconds"),
        (["--step", "fast"], "invalid choice: 'fast'"),
        (["--device", "tpu"], "device='tpu' given"),
        (["--device", "cuda:99"], "device='cuda:99' given"),
        (["--out", "."], "--out '.' given; it cannot be written: Is a directory"),
        (["--profile", "quik"], "invalid choice: 'quik'"),
    ],
)
def test_wrong_use_is_caught_before_anything_is_trained(words, said, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("RGKIT_RESULTS", str(tmp_path))
    try:
        status = cli.main(["run", "--plan", "--profile", "smoke", *words])
    except SystemExit as end:  # argparse's own
        status = end.code
    assert status == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_one_interrupt_checkpoints_and_exits_well(tmp_path):
    """What a batch system does to a job: SIGTERM, then wait."""
    program = "import sys; from rgkit.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = os.environ | {"RGKIT_RESULTS": str(tmp_path / "results")}
    words = ["run", "--plan", "--profile", "smoke", "--only", "discarded", "--jobs", "2"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr:
            if line.startswith("[2/"):
                process.send_signal(signal.SIGTERM)
                break
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "not begun" in said
    assert list((tmp_path / "results").glob("classification/*.json"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("how", ["both at once", "once more"])
def test_signals_to_the_whole_group_lose_nothing_and_a_second_ctrl_c_ends_it(tmp_path, how):
    """`timeout` sends SIGTERM to the process and to its group; a terminal Ctrl-C to the group."""
    program = "import sys; from rgkit.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = os.environ | {"RGKIT_RESULTS": str(tmp_path)}
    words = ["run", "--plan", "--profile", "smoke", "--only", "published", "--jobs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words, "-p", "epochs=100000"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert "runs on digits" in process.stderr.readline()
    time.sleep(6)  # the workers import torch, or have begun
    number = signal.SIGTERM if how == "both at once" else signal.SIGINT
    if number == signal.SIGTERM:
        process.send_signal(number)
    os.killpg(process.pid, number)
    if number == signal.SIGINT:
        time.sleep(1.2)
        os.killpg(process.pid, number)
    said, errors = process.communicate(timeout=60)
    # The second may come when all is over but Python's own end, of which that is the status.
    assert process.returncode in (128 + number, *([-number] if how == "once more" else []))
    assert "Traceback" not in errors
    if number == signal.SIGTERM:
        assert "2 stopped at a checkpoint" in said
        assert len(list(tmp_path.glob("checkpoints/*/*.pt"))) == 2


def test_ctrl_c_is_a_line_and_no_traceback(monkeypatch, capsys):
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rgkit.book.plan.notebooks", interrupted)
    assert cli.main(["plan"]) == 130
    assert capsys.readouterr().err == "\nrgkit: stopped by Ctrl-C\n"


def test_the_plan_goes_on_with_runs_that_only_its_records_call_for(tmp_path, monkeypatch, capsys):
    """The best rate is known once the candidates are recorded: one command trains both stages."""
    from rgkit.book import plan
    from rgkit.runs.results import collect
    from rgkit.stats.tuning import at_best

    axes = {"lr": [0.1, 0.2], "arm": ["plain", "RG"], "seed": [100]}
    base = TINY.replace(validation=20, weight="constant(1)")
    tuning = Grid(cross(base, axes), "quick", "", tuple(axes))
    monkeypatch.setenv("RGKIT_RESULTS", str(tmp_path))
    monkeypatch.setattr(plan, "notebooks", lambda pattern: [tmp_path])
    monkeypatch.setattr(plan, "grid", lambda *given: tuning + at_best(collect(tuning), range(2)))
    words = ["run", "--plan", "--profile", "quick", "--device", "cpu", "--jobs", "1"]
    assert cli.main(words) == 0
    assert "8 runs: 0 were recorded, 8 trained now" in capsys.readouterr().out
    final = [r.config for r in Store(tmp_path) if not r.config.validation]
    assert sorted((c.weight, c.seed) for c in final) == [
        (weight, seed) for weight in ("constant(1)", "uniform(0, 1)") for seed in (0, 1)
    ]
    assert cli.main(words) == 0
    assert "8 runs: 8 were recorded, 0 trained now" in capsys.readouterr().out


def test_what_a_run_costs_is_counted_in_seconds_of_the_processor():
    """A machine that is busy otherwise would make the plan's estimates too long."""
    waits, begun = [], time.monotonic()

    def wait(part, loss):
        waits.append(0.3)
        time.sleep(0.3)

    record = perform(TINY, How("cpu"), wait)
    assert record.source["seconds"] < time.monotonic() - begun - 0.9 * sum(waits)


def test_there_is_room_for_what_cores_and_memory_allow(tmp_path, monkeypatch, capsys):
    free = execute.psutil.virtual_memory()._replace(available=7 * execute.EACH)
    monkeypatch.setattr(execute.psutil, "virtual_memory", lambda: free)
    monkeypatch.setattr(execute, "cpu_count", lambda: 64)
    monkeypatch.setattr(execute, "LIMIT", tmp_path / "memory.max")
    assert execute.room() == 7
    for limit, room in (("max", 7), (str(4 * execute.EACH), 3), (str(execute.EACH), 1)):
        (tmp_path / "memory.max").write_text(limit)  # of the container
        (tmp_path / "memory.current").write_text(str(execute.EACH // 2))
        assert execute.room() == room
    run_missing([TINY, TINY.replace(seed=1)], Store(tmp_path / "results"), jobs=2)
    assert "2 at a time, where there is room for 1" in capsys.readouterr().err
