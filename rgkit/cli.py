"""The command line: thin. Exit status 2 for wrong use, 1 for failure."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# What makes pages is imported where it is used: a bare machine that trains lacks its packages.
from rgkit.book import notebook, plan
from rgkit.book.notebook import UsageError
from rgkit.chapters import image_folder
from rgkit.data import images, pictures
from rgkit.data.source import DataError, Source, root
from rgkit.method.spec import nearest
from rgkit.runs.config import STEPS, ConfigError
from rgkit.runs.profiles import NAMES as PROFILES
from rgkit.runs.records import Store
from rgkit.train.execute import room

# What `rgkit run --plan` may be told, and a notebook not.
PLAN_ONLY: dict[str, Any] = {
    "profile": "quick", "only": "", "time_limit": math.inf, "out": None, "jobs": None,
    "device": "auto", "step": "auto",
}  # fmt: skip


def _pairs(words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or name in found:
            once = "it is name=value, each name once, such as -p profile=quick"
            raise UsageError(f"-p {word!r} given; {once}")
        found[name] = value
    return found


def run(args: argparse.Namespace) -> int:
    """Execute one notebook with checked parameters, or train the missing runs of the plan."""
    if args.plan == (args.notebook is not None):
        raise UsageError("give either a notebook or --plan")
    if args.plan:
        if args.output or args.help_notebook or args.cell_timeout is not None:
            raise UsageError("-o, --help-notebook and --cell-timeout are not for --plan")
        if "profile" in (given := _pairs(args.parameter)):
            raise UsageError(f"-p profile={given['profile']} given; with --plan it is --profile")
        return plan.run(args, given)
    for name, usual in PLAN_ONLY.items():
        if getattr(args, name) != usual:
            raise UsageError(f"--{name.replace('_', '-')} is for --plan; see --help-notebook")
    from rgkit.book import build, kernels, report

    path = notebook.named(args.notebook)
    if args.help_notebook:
        for p in notebook.parameters(path).values():
            print(f"{p.name}: {p.kind} = {p.default!r}  {p.help}")
        return 0
    values = notebook.check_parameters(path, _pairs(args.parameter))
    output = Path(args.output or Path("_build", "runs", path.name))
    kept = [notebook.ROOT / "notebooks", Store().root.resolve(), path.resolve()]
    if output.suffix != ".ipynb" or any(output.resolve().is_relative_to(one) for one in kept):
        wanted = "a notebook's name, .ipynb, that is neither a record nor a notebook of the book"
        raise UsageError(f"-o {args.output!r} given; {wanted}")
    print(plan.outlook(path, values), file=sys.stderr)
    limit = {"cell_timeout": args.cell_timeout} if args.cell_timeout else {}
    task = kernels.Task(build.page_of(path), path, output, values, **limit)
    message = kernels.execute(task)
    if output.is_file():  # which it is not where no kernel came up
        copy = report.fill_in(json.loads(output.read_text(encoding="utf-8")))
        output.write_text(json.dumps(copy, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"FAILED {path}: {message}" if message else output, file=sys.stderr if message else None)
    return int(bool(message))


def book(args: argparse.Namespace) -> int:
    """Execute what changed and build the HTML."""
    from rgkit.book import build

    return build.build(Path(args.output), args.profile, args.jobs or room())


def bench(args: argparse.Namespace) -> int:
    """Measure the speed of everything on this machine, for the bench page; minutes."""
    from rgkit.bench.suite import run

    print(run(args.device, args.quick))
    return 0


def readme(args: argparse.Namespace) -> int:
    """Write the findings and the picture of the built book into README.md."""
    from rgkit.book import scorecard

    return scorecard.readme(Path(args.output))


def data(args: argparse.Namespace) -> int:
    """List the data sets, or fetch one."""
    if args.action == "list":
        imagenet = {"imagenet": image_folder.SOURCES["imagenet"]}
        kinds: dict[str, Mapping[str, Source]] = {
            "images": images.SOURCES, "masks": pictures.MASKS, "pairs": pictures.PAIRS,
            "folders": imagenet,
        }  # fmt: skip
        for kind, table in kinds.items():
            for name, source in table.items():
                here = "here" if source.available() else "not here"
                where = "embedded" if source.embedded else root()
                known = source.known or "by its files"
                print(f"{name:<14}{kind:<9}{known:<18}{here:<10}{where}")
        return 0
    found = images.SOURCES.get(args.name)
    if not isinstance(found, images.Cifar):
        hint = nearest(str(args.name), ["cifar10", "cifar100"])
        raise UsageError(f"rgkit data get {args.name}: nothing to fetch under that name{hint}")
    try:
        count = len(images.load(args.name).train.targets)
    except DataError:  # not there, or not whole
        found.download(root())
        count = len(images.load(args.name).train.targets)
    print(f"{args.name}: {count:,} images in {root()}")
    return 0


def check(args: argparse.Namespace) -> int:
    """Check that notebooks keep the grammar and are committed without outputs."""
    paths = [notebook.named(p) for p in args.notebooks] or notebook.find()
    found = [line for path in paths for line in notebook.problems(path)]
    print("\n".join(found) or f"{len(paths)} notebooks keep the grammar")
    return int(bool(found))


def doctor(args: argparse.Namespace) -> int:
    """Say what this machine has: versions, device, data, records."""
    import torch

    from rgkit.data.compat import import_torchvision
    from rgkit.runs.config import Classification
    from rgkit.train.device import arithmetic, device_name, pick_device, processor

    store, vision = Store(), import_torchvision()
    versions = f"torch {torch.__version__}, torchvision {vision.__version__}"
    print(f"Python {sys.version.split()[0]}, {versions}")
    where = pick_device()
    print(f"device: {device_name()}, {processor(where)}; {arithmetic(Classification(), where)}")
    print(f"room: for {room()} runs at a time on the CPU")
    print(f"records: {len(store.files())} in {store.root}")
    kept = len(list(store.root.glob("checkpoints/*/*.pt")))
    print(f"checkpoints: {kept} runs that were stopped and can go on")
    return data(argparse.Namespace(action="list"))


def _count(text: str) -> int:
    """Read a number of runs or notebooks at a time, or of seconds."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} given; a whole number of 1 or more")
    return int(text)


def _seconds(text: str) -> int:
    """Read a time in seconds."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} given; seconds, such as 3000")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(prog="rgkit", description="Measure three training tricks.")
    verbs = top.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, function: Any) -> argparse.ArgumentParser:
        words = (function.__doc__ or "").strip()
        one = verbs.add_parser(name, help=words, description=words)
        one.set_defaults(function=function)
        return one

    p = verb("plan", plan.show)
    p.add_argument("--profile", default="best", choices=[*PROFILES, "best"])
    p.add_argument("--only", default="", metavar="PATTERN", help="notebooks with this in the name")
    p.add_argument("--json", action="store_true", help="for programs")
    p = verb("run", run)
    p.add_argument("notebook", nargs="?", help="its name or path; executed with papermill")
    p.add_argument("-p", "--parameter", action="append", default=[], metavar="name=value")
    p.add_argument("-o", "--output", help="the executed copy (default: _build/runs/)")
    limit = "seconds after which a cell that hangs is ended (default: a day)"
    p.add_argument("--cell-timeout", type=_count, metavar="S", help=limit)
    p.add_argument("--help-notebook", action="store_true", help="list the notebook's parameters")
    p.add_argument("--plan", action="store_true", help="train the missing runs of all notebooks")
    p.set_defaults(**PLAN_ONLY)
    p.add_argument("--profile", choices=PROFILES, help="with --plan")
    p.add_argument("--only", metavar="PATTERN", help="with --plan")
    limit = "with --plan: seconds; nothing is started that cannot end in time"
    p.add_argument("--time-limit", type=_seconds, metavar="S", help=limit)
    p.add_argument("--out", metavar="ARCHIVE", help="with --plan: write finished runs here, too")
    p.add_argument("--jobs", type=_count, help="with --plan: runs at the same time")
    p.add_argument("--device", help="with --plan: auto, cpu, cuda, cuda:N")
    p.add_argument("--step", choices=STEPS, help="with --plan, for experts")
    p = verb("results", plan.merge)
    p.add_argument("action", choices=["merge"])
    p.add_argument("archives", nargs="+", metavar="ARCHIVE", help="made by --out, or a folder")
    p = verb("book", book)
    p.add_argument("--output", default="_build")
    p.add_argument("--profile", default="best", choices=[*PROFILES, "best"])
    p.add_argument("--jobs", type=_count, help="notebooks at the same time")
    p = verb("bench", bench)
    p.add_argument("--device", default="auto")
    p.add_argument("--quick", action="store_true", help="one short round: does it run?")
    p = verb("readme", readme)
    p.add_argument("--output", default="_build")
    p = verb("data", data)
    p.add_argument("action", choices=["list", "get"])
    p.add_argument("name", nargs="?")
    p = verb("check", check)
    p.add_argument("notebooks", nargs="*")
    verb("doctor", doctor)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; wrong use is one line on stderr and exit status 2."""
    args = parser().parse_args(argv)
    try:
        for name in ("RGKIT_RESULTS", "RGKIT_DATA"):  # a kernel has another working directory
            if folder := os.environ.get(name):
                os.environ[name] = str(Path(folder).expanduser().absolute())
        if args.function not in (data, doctor):
            notebook.checkout()
        status = int(args.function(args))
        if sys.stdout:  # it can be closed
            sys.stdout.flush()
        return status
    except (UsageError, ConfigError) as error:
        print(f"rgkit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        logging.getLogger("asyncio").disabled = True  # what is cut short is no fault of a kernel's
        print("\nrgkit: stopped by Ctrl-C", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (RuntimeError, ValueError, OSError) as error:
        print(f"rgkit: {type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
