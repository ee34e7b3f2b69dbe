"""Notebooks on warm kernels: as on fresh ones, apart from each other, and none left behind."""

from __future__ import annotations

import json
import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from rgkit.book import kernels
from rgkit.book.kernels import Task

pytestmark = pytest.mark.skipif(not kernels.CAN_FORK, reason="kernels are fresh ones here")


@pytest.fixture(scope="module", autouse=True)
def _a_fork_server_of_our_own():
    """There is one in a process, and other tests have it import other modules."""
    multiprocessing.forkserver._forkserver._stop()


PARAMETERS = "count: int = 3\nname: str = 'none'"
# Everything a page shows: text of both streams, values, figures, boxes and numbers for the prose.
SHOWS = [
    "print(count, name)",
    "import sys\nprint('said', file=sys.stderr)",
    "import matplotlib.pyplot as plt\nplt.plot([0, 1]);",
    "figure, axes = plt.subplots(1, 2)\nplt.show()\nplt.plot([1, 2]);",
    "from rgkit.chapters import lines, quadratic\n"
    "lines.draw({'': ({'RG': [quadratic.descend(0, 1, 0.1, [[1.0]])[:, 0, 0]]}, {})}, 'x', 'y');",
    "import pandas as pd\npd.DataFrame({'a': [1.5, 2.5]})",
    "import rgkit\nrgkit.glue(gap=0.25)\nrgkit.banner(rgkit.no_runs('best'))",
    "import os, torch\ntorch.manual_seed(0)\nprint(torch.rand(3), os.path.basename(os.getcwd()))",
    "print(get_ipython().__class__, __name__, sys.flags.safe_path, os.environ['RGKIT_NOTEBOOK'])",
    "print(torch.initial_seed(), sys.argv[1], [p for p in sys.path if not p], '' in sys.path)",
    "import multiprocessing as mp\nprint(mp.current_process().name, mp.parent_process())",
    "from tqdm import tqdm\nprint(sum(tqdm(range(3), disable=True)))",
    # A torch that a warm kernel has imported early trains alike.
    "from rgkit.runs.grid import Grid, cross\nfrom rgkit.runs.config import Classification\n"
    "tiny = Classification(data='digits', images=64, model='resnet8(2)', epochs=1)\n"
    "grid = Grid(cross(tiny, {'arm': ['plain', 'RG'], 'seed': [0]}), 'smoke')\n"
    "rgkit.run(grid, device='cpu', show=False).epochs.to_dict()",
]


def write(path: Path, *sources: str) -> Path:
    """A notebook of a parameters cell and the given ones."""
    cell = nbformat.v4.new_code_cell
    cells = [cell(PARAMETERS, metadata={"tags": ["parameters"]}), *map(cell, sources)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def run(folder: Path, jobs: int = 2, *, warm=True, train=False, **sources: list[str]):
    """Execute notebooks given as lists of cells; return messages and executed copies by name."""
    tasks = [
        Task(name, write(folder / f"{name}.ipynb", *cells), folder / "out" / f"{name}.ipynb",
             {"count": 41})
        for name, cells in sources.items()
    ]  # fmt: skip
    messages = dict(kernels.execute_all(tasks, jobs, train=train, warm=warm))
    copies = {task.page: json.loads(task.output.read_text()) for task in tasks}
    return messages, copies


def shown(notebook: dict) -> list:
    """What the cells of an executed copy put out; of pictures only that there is one."""
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            data = {k: v for k, v in output.get("data", {}).items() if k != "image/png"}
            text = output.get("text"), output.get("name"), output.get("metadata")
            picture = "image/png" in output.get("data", {})
            found.append((cell["execution_count"], output["output_type"], data, text, picture))
    return found


def said(notebook: dict) -> str:
    """The text that the last cell printed."""
    return "".join("".join(output.get("text", "")) for output in notebook["cells"][-1]["outputs"])


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """The same notebook on a warm kernel and on a fresh one."""
    return [
        run(tmp_path_factory.mktemp(name) / "", 1, warm=warm, train=True, one=SHOWS)
        for name, warm in (("warm", True), ("warm", False))
    ]


def test_a_warm_kernel_shows_what_a_fresh_one_shows(twins):
    (warm_said, warm), (fresh_said, fresh) = twins
    assert warm_said == fresh_said == {"one": ""}
    a, b = shown(warm["one"]), shown(fresh["one"])
    # The two folders differ in their numbers.
    assert json.dumps(a).replace("warm0", "warm1") == json.dumps(b).replace("warm0", "warm1")
    assert sum(picture for *_, picture in a) == 4


def test_the_executed_copy_is_papermills_own(twins):
    for _, copies in twins:
        cells = copies["one"]["cells"]
        assert cells[1]["metadata"]["tags"] == ["injected-parameters"]
        assert "count = 41" in "".join(cells[1]["source"])
        assert "".join(cells[2]["outputs"][0]["text"]) == "41 none\n"
        for cell in cells:
            assert cell["metadata"]["papermill"]["status"] == "completed"
            assert cell["metadata"]["papermill"]["duration"] >= 0
        assert copies["one"]["metadata"]["papermill"]["duration"] > 0


def test_a_hanging_cell_and_a_dead_kernel_are_named(tmp_path):
    path = write(tmp_path / "a.ipynb", "import time\ntime.sleep(60)")
    said = kernels.execute(Task("a", path, tmp_path / "out.ipynb", {}, cell_timeout=2))
    assert said == "cell `import time`: it ran for more than 2 s, see --cell-timeout"
    path = write(tmp_path / "b.ipynb", "import os\nos.kill(os.getpid(), 9)")
    said = kernels.execute(Task("b", path, tmp_path / "out.ipynb", {}))
    assert said.startswith("its kernel died, perhaps for want of memory")


def test_a_warm_kernel_need_not_import_what_pages_use(tmp_path):
    """multiprocessing says nothing of a module that its fork server could not import."""
    cell = "import sys\nprint({'rgkit.figures.plots', 'rgkit.book.warm'} <= set(sys.modules))"
    assert said(run(tmp_path, one=[cell])[1]["one"]) == "True\n"


def test_nothing_leaks_from_one_notebook_to_the_next(tmp_path):
    change = (
        "import os, sys, numpy as np, matplotlib.pyplot as plt, rgkit.book.report\n"
        "before = ('LEAK' in os.environ, 'leak' in sys.modules, plt.rcParams['font.size'] == 77,\n"
        "          hasattr(rgkit.book.report, 'leak'), os.path.basename(os.getcwd()))\n"
        "os.environ['LEAK'] = '1'; sys.modules['leak'] = os; plt.rcParams['font.size'] = 77\n"
        "rgkit.book.report.leak = 1; os.chdir('/'); name = 'changed'"
    )
    cells = [change, "print(before)", "print(name)", "print(np.random.random())"]
    messages, copies = run(tmp_path, 1, a=cells, b=[*cells[:2], *cells[3:]], c=["print(name)"])
    assert set(messages.values()) == {""}
    first, second = ("".join(copies[page]["cells"][3]["outputs"][0]["text"]) for page in "ab")
    assert first == second == str((False, False, False, False, tmp_path.name)) + "\n"
    assert said(copies["c"]) == "none\n"
    assert said(copies["a"]) != said(copies["b"]), "both drew the same random numbers"


CHILDREN = (
    "import math, multiprocessing\nfrom concurrent.futures import ProcessPoolExecutor\n"
    "with ProcessPoolExecutor(2, multiprocessing.get_context('spawn')) as pool:\n"
    "    print(list(pool.map(math.sqrt, [4, 9])))"
)


def test_failures_are_told_apart_and_the_rest_goes_on(tmp_path):
    """The rest is a notebook that says something, and one that starts processes of its own."""
    messages, copies = run(
        tmp_path,
        raises=["raise ValueError('no such luck')"],
        leaves=["import os\nos._exit(3)"],
        killed=["import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"],
        papermill=["import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nimport time\n"
                   "time.sleep(60)"],
        good=["print('well')"],
        children=[CHILDREN],
    )  # fmt: skip
    assert messages.pop("good") == messages.pop("children") == ""
    assert said(copies["good"]) == "well\n"
    assert said(copies["children"]) == "[2.0, 3.0]\n"
    line = "cell 2 (`raise ValueError('no such luck')`): ValueError: no such luck"
    assert messages.pop("raises") == line
    assert "An Exception was encountered at" in json.dumps(copies["raises"]["cells"][0])
    assert messages.pop("papermill") == "no cell: the process that runs papermill died"
    for message in messages.values():
        assert message.startswith("its kernel died"), message
    assert len(messages) == 2


BUILD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
from pathlib import Path
from rgkit.book.kernels import Task, execute_all
here = Path(sys.argv[1])
tasks = [Task(n, here / f"{n}.ipynb", here / f"{n}-out.ipynb", {}) for n in ("a", "b")]
list(execute_all(tasks, 2))
"""


def running(mark: str) -> list[int]:
    """The processes whose environment has a mark, read from /proc."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def eventually(true, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_build(number, tmp_path):
    """Neither server, papermill nor kernels, nor what a kernel started."""
    sleep = "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\nopen(f'{name}', 'w')"
    for name in "ab":
        write(tmp_path / f"{name}.ipynb", f"name = {name!r}\n{sleep}", "child.wait()")
    mark = f"RGKIT_TEST_MARK={tmp_path}"
    words = [sys.executable, "-c", BUILD, str(tmp_path)]
    environment = os.environ | dict([mark.split("=", 1)])
    with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as build:
        try:
            assert eventually(lambda: all((tmp_path / name).exists() for name in "ab"), 60)
            assert len(running(mark)) >= 7  # the build, its server, two of papermill, kernel, sleep
            build.send_signal(number)
            build.wait(20)
            assert eventually(lambda: not running(mark)), [
                Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8") for pid in running(mark)
            ]
        finally:
            for pid in running(mark):
                os.kill(pid, signal.SIGKILL)
