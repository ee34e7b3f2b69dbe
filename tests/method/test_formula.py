"""Formulas as laws and schedules: against a slow twin, refused at the edge, and their controls."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import papermill
import pytest
from papermill.translators import PythonTranslator

from rgkit.book import notebook, report, scorecard
from rgkit.chapters import own_trick
from rgkit.cli import main
from rgkit.method import formula, laws
from rgkit.method.laws import law, stream
from rgkit.method.schedules import schedule
from rgkit.runs.config import Classification, ConfigError, from_dict
from rgkit.runs.grid import arm_of, coin_of, mean_of
from rgkit.train.loop import Training, train

PAGE = Path(__file__).resolve().parents[2] / "notebooks" / "critique" / "your-own-trick.ipynb"
EPOCHS, PER_EPOCH = 6, 50
STEPS = np.arange(EPOCHS * PER_EPOCH)
RUN = Classification(images=10_000, epochs=10, lr=0.1, schedule="constant")  # of 79 steps an epoch
TINY = Classification(data="digits", images=64, batch=32, model="resnet8(2)", epochs=2, lr=0.05)

# Each formula beside what a reader of school algebra would compute at one step.
TWINS = {
    "1 + cos(pi * t)": lambda t, step, epoch, u, n: 1 + math.cos(math.pi * t),
    "min(1, 10 * t)": lambda t, step, epoch, u, n: min(1, 10 * t),
    "max(0, 1 - step / 100)": lambda t, step, epoch, u, n: max(0, 1 - step / 100),
    "2 * u": lambda t, step, epoch, u, n: 2 * u,
    "exp(-n / 4)": lambda t, step, epoch, u, n: math.exp(-n / 4),
    "where(t >= 0.5, u, 1)": lambda t, step, epoch, u, n: u if t >= 0.5 else 1,
    "(u < 0.25) * 4": lambda t, step, epoch, u, n: 4 if u < 0.25 else 0,
    "0.9 ** epoch // 0.001 / 1000": lambda t, step, epoch, u, n: 0.9**epoch // 0.001 / 1000,
    "clip(1 + n, 0.5, 2) * (step % 7)": lambda t, step, epoch, u, n: (
        min(max(1 + n, 0.5), 2) * (step % 7)
    ),
    "abs(sin(9 * t)) + sqrt(u) + tanh(t)": lambda t, step, epoch, u, n: (
        abs(math.sin(9 * t)) + math.sqrt(u) + math.tanh(t)
    ),
    "floor(3 * t) + ceil(t) + log(e + t)": lambda t, step, epoch, u, n: (
        math.floor(3 * t) + math.ceil(t) + math.log(math.e + t)
    ),
    "1 + sign(u - 0.5) * 0.5": lambda t, step, epoch, u, n: 1.5 if u > 0.5 else 0.5,
    "2": lambda t, step, epoch, u, n: 2,
}


def slowly(text: str, seed: int, name: str) -> list[float]:
    """The same formula a step at a time, its random numbers drawn one after the other."""
    uniform, normal, values = stream(seed, name), stream(seed, f"{name} normal"), []
    for step in STEPS.tolist():
        u = [uniform.random(), uniform.random()][1]  # the law `coin` wants the other
        t = step / len(STEPS)
        values.append(TWINS[text](t, step, step // PER_EPOCH, u, normal.standard_normal()))
    return values


@pytest.mark.parametrize("text", TWINS)
def test_a_formula_is_what_a_slow_loop_computes(text):
    u = law(f"formula({text!r})").draw(
        STEPS, STEPS // PER_EPOCH, epochs=EPOCHS, seed=3, per_epoch=PER_EPOCH
    )
    np.testing.assert_allclose(u, slowly(text, 3, "weight"), rtol=1e-13, atol=1e-15)
    rate = schedule(f"formula({text!r})").draw(STEPS, per_epoch=PER_EPOCH, epochs=EPOCHS, seed=3)
    np.testing.assert_allclose(rate, slowly(text, 3, "rate"), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("text", TWINS)
def test_it_is_pure_in_the_step(text):
    one, shuffled = law(f"formula({text!r})"), np.random.default_rng(0).permutation(STEPS)
    run = {"epochs": EPOCHS, "seed": 5, "per_epoch": PER_EPOCH}
    whole = one.draw(STEPS, STEPS // PER_EPOCH, **run)
    assert np.array_equal(one.draw(shuffled, shuffled // PER_EPOCH, **run), whole[shuffled])
    assert float(one.draw(77, 77 // PER_EPOCH, **run)) == whole[77]


def test_its_chance_is_the_runs_own_and_that_of_the_rate_another():
    u = law("formula('u')").draw(STEPS, seed=4)
    assert np.array_equal(u, law("uniform(0, 1)").draw(STEPS, seed=4))
    assert not np.array_equal(u, law("formula('u')").draw(STEPS, seed=5))
    steps = np.arange(20_000)
    pair = [
        law("formula('u')").draw(steps),
        schedule("formula('u')").draw(steps, per_epoch=200, epochs=100),
        law("formula('exp(n)')").draw(steps),
        schedule("formula('exp(n)')").draw(steps, per_epoch=200, epochs=100),
    ]
    between = np.corrcoef([*pair[:2], *np.log(pair[2:])])
    assert abs(between - np.eye(4)).max() < 0.03


def test_where_steps_are_unknown_time_is_counted_in_epochs():
    by_epoch = law("formula('1 - t')").draw(0, np.arange(10), epochs=10)
    np.testing.assert_allclose(by_epoch, 1 - np.arange(10) / 10)


def test_training_follows_it_step_by_step():
    made = Training(TINY.replace(weight="formula('1 - t')", schedule="formula('1 + t')"), "cpu")
    np.testing.assert_allclose(made.u, [1, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(made.lr, [0.05, 0.0625, 0.075, 0.0875])
    rates = [Training(TINY.replace(schedule="formula('u')", seed=s), "cpu").lr for s in (0, 1)]
    assert not np.array_equal(*rates)


def test_a_formula_without_anything_trains_the_same_numbers_as_the_named_law():
    named, written = (TINY.replace(weight=w) for w in ("constant(0.5)", "formula('1 / 2')"))
    assert train(named, "cpu").epochs == train(written, "cpu").epochs


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 + cso(t)", "unknown function 'cso'; did you mean 'cos'"),
        ("minimum(1, t)", "did you mean 'min'"),
        ("epochs / 2", "unknown 'epochs'; did you mean 'epoch'"),
        ("steps", "did you mean 'step'"),
        ("min(t)", "min takes 2 values in brackets, 1 given"),
        ("exp", "exp takes 1 values in brackets"),
        ("min(1, b=t)", "is not allowed"),
        ("t.real", "'t.real' is not allowed"),
        ("().__class__", "is not allowed"),
        ("[1, 2][0]", "is not allowed"),
        ("lambda: 1", "is not allowed"),
        ("'a'", "is not allowed"),
        ("True", "is not allowed"),
        ("1j", "is not allowed"),
        ("0.1 < t < 0.5", "is not allowed"),
        ("t == 1", "is not allowed"),
        ("(t := 1)", "is not allowed"),
        ("__import__('os')", "unknown function '__import__'"),
        ("np.exp(t)", "is not allowed"),
        ("1 +", "cannot be read; it looks like"),
        ("", "cannot be read"),
        ("t; u", "cannot be read"),
        ("-" * 9000 + "1", "cannot be read"),
    ],
)
def test_what_is_not_on_the_list_is_refused_when_the_run_is_described(text, message):
    for build in (formula.canonical, lambda t: Classification(weight=f"formula({t!r})")):
        with pytest.raises(ValueError, match=r"formula ['\"]") as caught:
            build(text)
        assert message in str(caught.value)
        assert repr(text) in str(caught.value)
    with pytest.raises(ValueError, match=r"formula ['\"]"):
        schedule(f"formula({text!r})")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 - 2 * t", r"is -0.0066\d+ at t = 0.503\d+, which would climb the loss; max\(0"),
        ("1 + n", r"at n = -1.\d+, which would climb the loss"),
        ("1 / step", "is inf at step = 0, which is not a finite number"),
        ("log(t)", "is -inf at t = 0, which is not a finite number"),
        ("(t - 1) ** 0.5", "is nan at t = 0"),
        ("9 ** 9 ** 9", "is inf at every step"),
    ],
)
def test_a_weight_or_rate_below_zero_or_without_a_value_is_refused_when_drawn(text, message):
    one = law(f"formula({text!r})")
    with pytest.raises(ValueError, match=message):
        one.draw(STEPS, STEPS // PER_EPOCH, epochs=EPOCHS, per_epoch=PER_EPOCH)
    with pytest.raises(ValueError, match=r"formula '.*' is "):
        schedule(str(one)).draw(STEPS, per_epoch=PER_EPOCH, epochs=EPOCHS)
    with pytest.raises(ValueError, match=r"formula '.*' is "):
        one.moments(EPOCHS, PER_EPOCH)  # so a page that asks for its mean refuses it beforehand


def test_late_and_like_leave_formulas_to_themselves():
    with pytest.raises(ValueError, match="a law, not late or a formula"):
        law("late(\"formula('u')\", 0.5)")
    with pytest.raises(ValueError, match="a formula is a schedule itself"):
        schedule("like(\"formula('t')\")")


# --- keys -----------------------------------------------------------------------------------


def test_equal_formulas_have_equal_keys_and_others_have_others():
    alike = [
        "formula('1+cos(pi*t)')",
        'formula("1.0 + (cos(pi * t))")',
        "formula(' 1 + cos(pi*t)')",
    ]
    assert len({Classification(weight=w).key("x") for w in alike}) == 1
    other = ["formula('1 + cos(pi * u)')", "formula('1 + sin(pi * t)')", "constant(1)"]
    assert len({Classification(weight=w).key("x") for w in [*other, alike[0]]}) == 4
    assert Classification(schedule=alike[0]).schedule == "formula('1 + cos(pi * t)')"
    assert arm_of(f"lr {alike[0]}", RUN) == RUN.replace(schedule=alike[0])


def test_it_survives_json_and_its_own_text():
    config = Classification(weight="formula('u**2 / 3')", schedule='formula("e ** -t")')
    assert from_dict(json.loads(json.dumps(config.as_dict()))) == config
    for text in TWINS:
        assert formula.canonical(formula.canonical(text)) == formula.canonical(text)
        assert str(law(str(law(f"formula({text!r})")))) == str(law(f"formula({text!r})"))


# --- moments and controls -------------------------------------------------------------------


@pytest.mark.parametrize("text", [t for t in TWINS if not formula.used(t) & {"u", "n"}])
def test_moments_without_chance_are_exact_averages_over_the_steps(text):
    values = slowly(text, 0, "weight")
    exact = math.fsum(values) / len(values), math.fsum(v * v for v in values) / len(values)
    assert law(f"formula({text!r})").moments(EPOCHS, PER_EPOCH) == pytest.approx(exact, rel=1e-12)
    of_rate = schedule(f"formula({text!r})").moments(EPOCHS, PER_EPOCH)
    assert of_rate == pytest.approx(exact, rel=1e-12)
    assert not law(f"formula({text!r})").chance


@pytest.mark.parametrize(
    ("text", "m1", "m2"),
    [
        ("u", 1 / 2, 1 / 3),
        ("exp(n / 2)", math.exp(1 / 8), math.exp(1 / 2)),
        ("u * (1 - t)", (1 + 1 / 790) / 4, None),
        ("(u < 0.1) * 10", 1, 10),
        ("where(t < 0.5, 1, 2 * u)", 1, (1 + 4 / 3) / 2),
        ("max(0, n) * u", 1 / math.sqrt(2 * math.pi) / 2, 1 / 6),
    ],
)
def test_moments_with_chance_are_good_to_three_digits(text, m1, m2):
    found = law(f"formula({text!r})").moments(10, 79)
    assert found[0] == pytest.approx(m1, rel=5e-4)
    assert m2 is None or found[1] == pytest.approx(m2, rel=2e-3)
    assert law(f"formula({text!r})").chance
    many = law(f"formula({text!r})").draw(np.arange(10**6), epochs=1, per_epoch=10**6)
    if "t" not in formula.used(text):
        assert abs(many.mean() - found[0]) < 5 * many.std() / 1000


TRICKS = ["uniform(0, 1)", "RG", "triangle(10)", "coin(0.5)", "formula('u')", "formula('1 - t')"]
TRICKS += ["formula('exp(n)')", "lr formula('u')", "lr formula('(1 - t) ** 2')", "lr linear(2, 0)"]


@pytest.mark.parametrize("trick", TRICKS)
def test_the_controls_have_the_moments_of_the_trick(trick):
    """Over the run as it is drawn; a coin within the luck of its 790 tosses."""

    def drawn(arm: str) -> np.ndarray:
        seeds = (RUN.replace(seed=seed) for seed in range(40))
        return np.concatenate([own_trick.step_sizes(arm_of(arm, s), RUN.lr) for s in seeds])

    u, mean, coin = drawn(trick), drawn(f"mean of {trick}"), drawn(f"coin of {trick}")
    assert np.ptp(mean) == 0
    luck = 5 * u.std() / math.sqrt(len(u)) if "1 - t" not in trick else 0
    assert mean[0] == pytest.approx(u.mean(), rel=5.1e-3, abs=luck)
    assert len(np.unique(coin)) == 2
    assert coin.min() == 0
    assert coin.mean() == pytest.approx(u.mean(), rel=0.01, abs=10 * u.std() / math.sqrt(len(u)))
    assert (coin**2).mean() == pytest.approx((u**2).mean(), rel=0.15)


def test_a_control_changes_what_the_trick_changes_and_shares_the_runs_that_it_can():
    half = arm_of("mean of lr formula('u')", RUN)
    assert half == RUN.replace(lr=0.05)
    assert half.key("x") == Classification(images=10_000, epochs=10, lr=0.05,
                                           schedule="constant").key("x")  # fmt: skip
    assert mean_of(RUN, arm_of("RG", RUN)) == RUN.replace(weight="constant(0.5)")
    assert mean_of(RUN, arm_of("formula('1 + cos(pi * t)')", RUN)) == RUN
    assert coin_of(RUN, arm_of("lr formula('u')", RUN)).weight == "constant(1)"
    falling = RUN.replace(schedule="poly")
    assert arm_of("mean of RG", falling).schedule == falling.schedule
    # The mean is that of the run at hand, whatever its length.
    ramp = "mean of formula('min(1, step / 1000)')"
    short, long = (arm_of(ramp, RUN.replace(epochs=epochs)).weight for epochs in (10, 100))
    assert (short, long) == ("constant(0.394)", "constant(0.937)")


def test_what_has_no_control_is_refused():
    for trick in ("plain", "half rate, twice decay", "constant(1)"):
        with pytest.raises(
            ConfigError, match=r"asked for; a trick is a law of the loss weight, or"
        ):
            own_trick.arms_for(trick)
        with pytest.raises(ConfigError, match="asked for"):
            arm_of(f"mean of {trick}", Classification())
    with pytest.raises(ConfigError, match="it is 0 at every step"):
        arm_of("coin of formula('0 * u')", RUN)
    with pytest.raises(ConfigError, match="arm='trick' given"):
        arm_of("mean of trick", RUN)


def test_a_trick_without_chance_has_no_coin_and_further_arms_do_not_rename_the_others():
    assert list(own_trick.arms_for("formula('t')").values()) == ["plain", "the trick", "its mean"]
    assert list(own_trick.arms_for("lr linear(2, 0)").values()) == [
        "plain",
        "the trick",
        "its mean",
    ]
    same = own_trick.arms_for("RG", ["RG", "plain", "beta"])
    assert list(same.values()) == ["plain", "the trick", "its mean", "its coin", "beta"]


def test_the_steps_of_the_arms_are_as_large_as_they_are_written():
    names = own_trick.arms_for("lr formula('u')")
    dots = [own_trick.step_sizes(arm_of(arm, RUN.replace(seed=3)), RUN.lr) for arm in names]
    assert [len(d) for d in dots] == [790] * 4
    assert set(dots[0]) == {1.0}
    assert set(dots[2]) == {0.5}
    expected = schedule("formula('u')").draw(np.arange(790), per_epoch=79, epochs=10, seed=3)
    np.testing.assert_allclose(dots[1], expected)


# --- the page -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("trick=formula('sinn(t)')", ["unknown function 'sinn'", "did you mean 'sin'"]),
        ("trick=formla('t')", ["did you mean 'formula'"]),
        ("trick=lr uniform(0, 1)", ["a formula is a schedule itself"]),
        ("trick=plain", ["a trick is a law of the loss weight, or 'lr ' and one"]),
        ("trick=formula('t - 0.5')", ["is -0.5 at t = 0, which would climb the loss"]),
        ("also=[\"lr formula('v')\"]", ["unknown 'v'"]),
        ("also=formula('t')", ["it is of type list[str]"]),
        ("seeds=1", ["the others choose for each, so it takes two or more"]),
    ],
)
def test_a_wrong_trick_is_refused_before_a_kernel_starts(given, words, capsys, monkeypatch):
    monkeypatch.setattr(papermill, "execute_notebook", lambda *a, **k: pytest.fail("kernel"))
    assert main(["run", str(PAGE), "-p", "profile=smoke", "-p", given]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert said.count("\n") == 1


def test_a_formula_reaches_the_grid_as_it_was_typed_and_papermill_hands_it_on():
    typed = "where(t < 0.5, min(1, 10 * t), 2 * u)"
    given = {"trick": f"formula('{typed}')", "also": "[\"lr formula('1 - t')\"]"}
    values = notebook.check_parameters(PAGE, {"profile": "smoke"} | given)
    arms = {cell.labels["arm"]: cell.config for cell in notebook.grid(PAGE, values)}
    assert arms[given["trick"]].weight == f"formula({formula.canonical(typed)!r})"
    assert arms["lr formula('1 - t')"].schedule == "formula('1 - t')"
    space: dict[str, object] = {}
    exec(PythonTranslator.codify(values), space)
    assert {name: space[name] for name in values} == values


def test_the_default_grid_trains_the_mean_of_a_halving_trick_once():
    values = notebook.check_parameters(PAGE, {"profile": "quick"})
    cells = notebook.grid(PAGE, values).cells
    assert len(cells) == 4 * 4 * 3
    assert len({cell.config for cell in cells}) == (4 + 4 + 4 + 1) * 3
    assert all(cell.config.validation for cell in cells)


def test_a_claim_of_ones_own_has_a_box_and_no_place_on_the_scorecard(monkeypatch):
    shown = []
    monkeypatch.setattr(report, "_display", lambda bundle, metadata=None: shown.append(bundle))
    facts = {"measured": "+1.00 points", "interval": (0.5, 1.5), "seeds": 3, "verdict": "supported"}
    report.conclude("own-x", says="“u < 1” is better", profile="quick", **facts)
    report.conclude("own-x", says="is better", profile="smoke", **facts)
    assert "“u &lt; 1” is better" in shown[0]["text/html"]
    assert "<strong>supported</strong> (profile quick)" in shown[0]["text/html"]
    assert shown[1][report.VERDICT_MIME]["verdict"] == "not measured"
    nothing = {"verdict": "not measured", "interval": (math.nan, math.nan), "detectable": math.nan}
    report.conclude("own-x", says="is better", profile="quick", **facts | nothing)
    entry = shown[2][report.VERDICT_MIME]
    assert (entry["interval"], entry["detectable"]) == (None, None)
    cells = [{"metadata": {}, "outputs": [{"data": bundle}]} for bundle in shown]
    assert scorecard.rows({"notebooks/x": {"cells": cells}}) == scorecard.rows({})
    with pytest.raises(ValueError, match="'rg-cost' given with says='mine'; the ledger has its"):
        report.conclude("rg-cost", says="mine", profile="quick", **facts)
    with pytest.raises(ValueError, match="unknown claim 'own-x'"):
        report.conclude("own-x", profile="quick", **facts)


def test_every_formula_stays_known_as_a_law():
    """`rgkit.method.laws` has to import it, or configs that were read would not know it."""
    assert law("formula('t')") == laws.Formula("t")


def test_the_book_tells_every_name_that_a_formula_may_have():
    page = (PAGE.parents[2] / "book" / "your-own.md").read_text()
    table = page[page.index("| name |") : page.index("Everything else is refused")]
    told = {
        word for quoted in re.findall(r"`([^`]+)`", table) for word in re.findall(r"\w+", quoted)
    }
    known = {*formula.NAMES, *formula.CONSTANTS, *formula.FUNCTIONS}
    assert told - {"x", "low", "high", "test", "yes", "no"} == known
    shown = re.findall(r"\| `((?:lr )?formula\('.*?'\))` \|", page)
    assert len(shown) >= 5
    for trick in shown:
        config = arm_of(trick, RUN)
        assert own_trick.step_sizes(config, RUN.lr).mean() == pytest.approx(
            own_trick.step_sizes(arm_of(f"mean of {trick}", RUN), RUN.lr).mean(), rel=0.15
        )
