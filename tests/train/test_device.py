"""In which arithmetic a run takes place: the machine chooses, the run keeps it, its record says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from rgkit import cli
from rgkit.book import plan
from rgkit.book.report import SOURCE_MIME, provenance
from rgkit.chapters.step_timing import StepTiming
from rgkit.chapters.step_timing.task import measure as time_steps
from rgkit.runs.config import Classification
from rgkit.runs.grid import Grid, cross
from rgkit.runs.records import Record, Store
from rgkit.train import device
from rgkit.train.device import arithmetic, device_name, processor
from rgkit.train.execute import run
from rgkit.train.loop import train
from rgkit.train.perform import Checkpoint, How, perform
from rgkit.train.progress import FLOAT32, Estimator

CPU = torch.device("cpu")
TINY = Classification(data="digits", images=64, model="resnet8(2)", epochs=4, batch=32)


@pytest.fixture
def machine(monkeypatch):
    """Make this machine one of another kind, as far as the choice goes: it then does emulate."""

    def become(kind: str) -> None:
        for module in ("device", "perform"):
            monkeypatch.setattr(f"rgkit.train.{module}.processor", lambda where: kind)

    return become


@pytest.mark.parametrize(
    ("limit", "kind"),
    [
        (None, "AMX"), ("", "AMX"), ("DEFAULT", "AMX"), ("nonsense", "AMX"),
        ("SSE41", "SSE4.1"), ("avx", "AVX"), ("AVX2", "AVX2"), ("avx2_vnni", "AVX2"),
        ("AVX2_VNNI_2", "AVX2"), ("AVX512_CORE", "AVX-512"), ("avx512_core_vnni", "AVX-512"),
        ("AVX512_CORE_BF16", "AVX-512 BF16"), ("AVX512_CORE_FP16", "AVX-512 BF16"),
        ("AVX10_1_512", "AVX-512 BF16"), ("AVX512_CORE_AMX", "AMX"),
        ("AVX512_CORE_AMX_FP16", "AMX"), ("AVX10_2_512_AMX_2", "AMX"),
    ],
)  # fmt: skip
def test_a_limit_of_onednn_is_honoured(monkeypatch, limit, kind):
    for name in filter(None, device.CAN.values()):
        monkeypatch.setattr(torch.cpu, name, lambda: True, raising=False)
    if limit is None:
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    else:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert processor(CPU) == kind
    fast = kind in ("AVX-512 BF16", "AMX")
    assert arithmetic(TINY, CPU) == ("bfloat16" if fast else "float32")


def test_where_nothing_is_known_of_a_processor_it_is_float32(monkeypatch):
    for name in filter(None, device.CAN.values()):
        monkeypatch.delattr(torch.cpu, name, raising=False)  # an old torch
    assert processor(CPU) == ""
    assert arithmetic(TINY, CPU) == "float32"
    monkeypatch.setattr(torch.cpu, "_is_avx2_supported", lambda: True, raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AMX")  # a limit adds nothing
    assert processor(CPU) == "AVX2"


@pytest.mark.parametrize(("capability", "used"), [((7, 5), "float32"), ((9, 0), "bfloat16")])
def test_a_gpu_goes_by_its_capability(monkeypatch, capability, used):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda where: capability)
    gpu = torch.device("cuda")
    assert processor(gpu) == "capability {}.{}".format(*capability)
    assert arithmetic(TINY.replace(model="mobilenetv2"), gpu) == used
    assert arithmetic(TINY.replace(precision="float64"), gpu) == "float64"


def test_a_network_that_is_slower_in_bfloat16_is_not_in_it_and_its_branches_follow(machine):
    machine("AVX-512 BF16")
    slow = "small_mobilenetv2"
    for model in (slow, f"gc(2, base={slow!r})", f"side_by_side(2, {slow!r})"):
        assert arithmetic(TINY.replace(model=model), CPU) == "float32"
    for model in ("resnet8(2)", "resnet8(4)", "gc(2, base='resnet8(2)')"):
        assert arithmetic(TINY.replace(model=model), CPU) == "bfloat16"
    assert arithmetic(TINY.replace(precision="float32"), CPU) == "float32"


def test_a_record_says_how_it_was_computed(machine):
    machine("AVX2")
    record = perform(TINY, How("cpu"))
    assert record.config == TINY
    assert (record.source["arithmetic"], record.source["processor"]) == ("float32", "AVX2")
    single = perform(TINY.replace(precision="float32"), How("cpu"))
    assert record.epochs == single.epochs
    assert record.key != single.key
    machine("AMX")
    assert perform(TINY, How("cpu")).arithmetic == "bfloat16"
    timing = StepTiming(model="resnet8(2)", size=8, batch=4, pairs=2, steps=1)
    assert perform(timing, How("cpu")).arithmetic == "bfloat16"
    older = Record("k", TINY, "f", "finished", {}, {"device": "CPU", "seconds": 1.0})
    assert older.arithmetic == "bfloat16"


def test_steps_are_timed_in_the_arithmetic_of_the_machine(machine, monkeypatch):
    seen, plain = set(), torch.autocast

    def watched(kind, dtype, enabled, **others):
        seen.add(enabled)
        return plain(kind, dtype, enabled=enabled, **others)

    monkeypatch.setattr(torch, "autocast", watched)
    for kind, used in (("AVX2", {False}), ("AMX", {True})):
        machine(kind)
        seen.clear()
        time_steps(StepTiming(model="resnet8(2)", size=8, batch=4, pairs=2, steps=1), "cpu")
        assert seen == used


def test_without_avx512_a_run_is_in_float32():
    """The true way, in a process of its own: oneDNN reads the variable once."""
    code = (
        "import json, sys; from rgkit.runs.config import from_dict; "
        "from rgkit.train.perform import How, perform; "
        "found = perform(from_dict(json.loads(sys.argv[1])), How('cpu')).source; "
        "print(json.dumps([found['arithmetic'], found['processor']]))"
    )
    env = {"ONEDNN_MAX_CPU_ISA": "avx2", "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run(
        [sys.executable, "-c", code, json.dumps(TINY.replace(epochs=1).as_dict())],
        env=os.environ | env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(said.stdout) in (["float32", "AVX2"], ["float32", ""])


@pytest.mark.parametrize(("first", "used"), [("AVX2", "float32"), ("AMX", "bfloat16")])
def test_a_run_goes_on_in_the_arithmetic_that_it_was_begun_in(tmp_path, machine, first, used):
    machine(first)
    calls, how = iter([False, True]), How("cpu", store=Store(tmp_path), every=0)
    assert perform(TINY, how, stop=lambda: next(calls)) is None
    kept = Checkpoint(how.store, TINY, way=f"plain {device_name('cpu')}")
    assert kept.load(CPU)["arithmetic"] == used
    machine("AMX" if first == "AVX2" else "AVX2")
    record = perform(TINY, how)
    assert record.source["resumed"] == 1
    assert record.arithmetic == used
    machine(first)
    assert record.epochs == train(TINY, "cpu").epochs


def test_the_plan_leaves_seeds_to_machines_of_the_kind_that_began_them(
    tmp_path, machine, monkeypatch, capsys
):
    """Here seed 0 was begun in bfloat16; a notebook trains what its reader adds all the same."""
    axes = {"arm": ["plain", "RG", "constant 1/2"], "seed": [0, 1]}
    grid = Grid(cross(TINY.replace(epochs=1), axes), "quick", "", tuple(axes))
    store = Store(tmp_path)
    monkeypatch.setenv("RGKIT_RESULTS", str(tmp_path))
    monkeypatch.setattr(plan, "notebooks", lambda pattern: [tmp_path])
    monkeypatch.setattr(plan, "grid", lambda *given: grid)
    machine("AMX")
    store.put(perform(grid[0].config, How("cpu")))
    machine("AVX2")
    words = ["run", "--plan", "--profile", "quick", "--device", "cpu", "--jobs", "1"]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "4 runs: 1 were recorded, 3 trained now" in said
    assert "2 more are left to another machine" in said
    assert {(r.config.seed, r.arithmetic) for r in store} == {(0, "bfloat16"), (1, "float32")}
    results = run(grid, device="cpu", jobs=1, store=store, show=False)
    assert len(results.records) == 6
    assert sorted(r.arithmetic for r in results.records) == ["bfloat16"] + 5 * ["float32"]
    assert cli.main(words) == 0
    assert "left to another machine" not in capsys.readouterr().out
    shown = []
    monkeypatch.setattr("rgkit.book.report._display", shown.append)
    provenance(results)
    assert "; 5 in float32 and 1 in bfloat16; " in shown[0]["text/plain"]
    assert shown[0][SOURCE_MIME]["arithmetics"] == {"float32": 5, "bfloat16": 1}


def test_estimates_tell_arithmetics_apart_and_learn_from_the_other_where_they_must():
    def recorded(seconds, config, **source):
        where = {"seconds": seconds, "device": "CPU"} | source
        return Record("k", config, "f", "finished", {}, where)

    other = TINY.replace(model="resnet8(4)")
    records = [
        recorded(1.0, TINY), recorded(3.0, TINY, arithmetic="float32"), recorded(2.0, other),
        recorded(5.0, TINY.replace(data="cifar10"), arithmetic="float32"),
    ]  # fmt: skip
    single = Estimator(records, here=lambda config: "float32")
    assert Estimator(records).seconds(TINY) == pytest.approx(1.0)
    assert single.seconds(TINY) == pytest.approx(3.0)
    assert single.seconds(other) == pytest.approx(2.0 * FLOAT32)
    far = Estimator(records).seconds(TINY.replace(data="cifar10"))
    assert far == pytest.approx(5.0 / FLOAT32)
    assert single.seconds(TINY.replace(model="resnet18")) is None
    single.learn(other, 0.5, 4.0)
    assert single.seconds(other) == pytest.approx(8.0)
