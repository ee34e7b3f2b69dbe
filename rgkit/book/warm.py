"""Imported by the process that forks kernels, once, for all that takes long the first time.

The modules that most notebooks need, and a figure that nobody sees: matplotlib keeps its fonts and
glyphs. That process has one thread, no event loop and no sockets of ZeroMQ, which no fork survives.
"""

import io
import os
from importlib import import_module

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything that computes is imported
# Chosen when matplotlib is imported, which is before ipykernel could choose it. The backend
# itself is not imported here: it looks for the shell that it shows figures in, once.
os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # else the kernels' debugger complains
for name in (
    "papermill", "jupyter_client.provisioning.local_provisioner", "ipykernel.kernelapp",
    "ipykernel.debugger", "IPython.core.pylabtools", "yaml", "matplotlib.backends.backend_agg",
    "contourpy", "pandas.io.formats.html", "scipy.stats", "rgkit.book.report",
    "rgkit.figures.plots", "rgkit.stats.tuning", "rgkit.book.build", "rgkit.book.plan",
):  # fmt: skip
    import_module(name)

import matplotlib as mpl  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from rgkit.figures.style import use_style  # noqa: E402

with mpl.rc_context():
    use_style()
    figure = Figure(layout="constrained")  # not one of pyplot's, whose state it would change
    axes = figure.subplots()
    axes.plot([1e-3, 1e3], [0, 1], "o-", label="label")
    axes.set(title="title", xlabel="$10^{1}$", ylabel="label", xscale="log")
    axes.legend(title="title")
    figure.savefig(io.BytesIO(), format="png")
