"""The quadratic laboratory: every exact statement of predictions 1 to 5, and slow twins."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from rgkit.chapters import quadratic
from rgkit.chapters.quadratic import ARMS, Array

MOMENTA = (0.0, 0.3, 0.5, 0.9, 0.95)
#: Three laws with the mean and the variance of U(0, 1), as equally likely values.
TWO_POINT = 0.5 + np.array([-1.0, 1.0]) / math.sqrt(12)
COIN = np.array([0.0, 2 / 3, 2 / 3, 2 / 3])


def uniform(steps: int, paths: int, seed: int = 0) -> Array:
    return quadratic.arm_weights("RG", steps, paths, seed)


# --- slow twins -----------------------------------------------------------------------------


def slow_descend(
    start: Array,
    h: Array,
    lr: float,
    u: Array,
    *,
    alpha: float,
    decay: float,
    noise: float,
    target: float,
    seed: int,
) -> Array:
    """One path, one coordinate, one step at a time."""
    draw = np.random.default_rng(seed)
    x, v = np.tile(start, (u.shape[1], 1)), np.zeros((u.shape[1], len(start)))
    out = [x.copy()]
    for weights in u:
        eps = draw.standard_normal(x.shape)
        for p, weight in enumerate(weights):
            for d in range(len(start)):
                gradient = h[d] * (x[p, d] - target) + noise * eps[p, d]
                v[p, d] = alpha * v[p, d] + weight * gradient + decay * x[p, d]
                x[p, d] -= lr * v[p, d]
        out.append(x.copy())
    return np.array(out)


@pytest.mark.parametrize("alpha", MOMENTA)
def test_descend_equals_its_slow_twin(alpha: float) -> None:
    start, h, u = np.array([1.0, -2.0]), np.array([1.0, 0.1]), uniform(20, 3)
    fast = quadratic.descend(
        start, h, 0.7, u, momentum=alpha, weight_decay=0.01, noise=0.3, target=0.5, seed=4
    )
    slow = slow_descend(start, h, 0.7, u, alpha=alpha, decay=0.01, noise=0.3, target=0.5, seed=4)
    np.testing.assert_allclose(fast, slow, rtol=1e-13, atol=1e-13)


def test_descend_is_torch_sgd_on_the_weighted_loss() -> None:
    torch = pytest.importorskip("torch")
    u = uniform(15, 1)
    w = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    h = torch.tensor([1.0, 0.1], dtype=torch.float64)
    sgd = torch.optim.SGD([w], lr=0.7, momentum=0.9, weight_decay=0.01)
    for weight in u[:, 0]:
        sgd.zero_grad()
        (float(weight) * 0.5 * (h * (w - 0.5) ** 2).sum()).backward()
        sgd.step()
    ours = quadratic.descend(
        [1.0, -2.0], [1.0, 0.1], 0.7, u, momentum=0.9, weight_decay=0.01, target=0.5
    )
    np.testing.assert_allclose(ours[-1, 0], w.detach().numpy(), rtol=1e-13)


def test_sweeping_momenta_as_modes_equals_one_call_each() -> None:
    u = uniform(10, 2)
    together = quadratic.descend(1.0, [0.5, 0.5], 1.0, u, momentum=[0.0, 0.9])
    for i, alpha in enumerate((0.0, 0.9)):
        alone = quadratic.descend([1.0], [0.5], 1.0, u, momentum=alpha)
        np.testing.assert_array_equal(together[:, :, [i]], alone)


def test_velocity_equals_the_weighted_sum_it_stands_for() -> None:
    u = uniform(12, 2)
    slow = [sum(0.9 ** (t - i) * u[i] for i in range(t + 1)) for t in range(12)]
    np.testing.assert_allclose(quadratic.velocity(u, 0.9), slow, rtol=1e-13)


def step_matrix(y: float, u: float, alpha: float) -> Array:
    """(x, η v) ← matrix (x, η v)."""
    return np.array([[1 - u * y, -alpha], [u * y, alpha]])


def mean_kronecker(y: float, law: Array, alpha: float) -> Array:
    squares = [np.kron(step_matrix(y, u, alpha), step_matrix(y, u, alpha)) for u in law]
    return np.asarray(np.mean(squares, 0))


@pytest.mark.parametrize("alpha", MOMENTA)
@pytest.mark.parametrize("law", [TWO_POINT, COIN])
def test_growth_is_the_mean_kronecker_square_of_any_law_with_these_moments(
    alpha: float, law: Array
) -> None:
    for y in (0.1, 1.0, 2.5, 4.0):
        slow = math.sqrt(np.abs(np.linalg.eigvals(mean_kronecker(y, law, alpha))).max())
        assert float(quadratic.growth(y, *ARMS["RG"], alpha)) == pytest.approx(slow, rel=1e-10)


@pytest.mark.parametrize("alpha", MOMENTA)
@pytest.mark.parametrize("arm", ARMS)
def test_threshold_is_where_growth_crosses_one(arm: str, alpha: float) -> None:
    edge = float(quadratic.threshold(*ARMS[arm], alpha))
    below, above = quadratic.growth([edge * 0.999, edge * 1.001], *ARMS[arm], alpha)
    assert below < 1 < above


@pytest.mark.parametrize("alpha", MOMENTA)
@pytest.mark.parametrize("arm", ARMS)
def test_stationary_is_the_fixed_point_of_the_second_moments(arm: str, alpha: float) -> None:
    m1, m2 = ARMS[arm]
    law = m1 + math.sqrt(max(m2 - m1 * m1, 0)) * np.array([-1, 1])
    y = 0.6 * float(quadratic.threshold(m1, m2, alpha))
    kicks = np.array([1.0, -1.0]) * y  # of (x, η v) by one unit of noise, times h
    matrix, forcing = mean_kronecker(y, law, alpha), m2 * np.outer(kicks, kicks).ravel()
    moments = np.linalg.solve(np.eye(4) - matrix, forcing)
    fast = quadratic.stationary(y, m1, m2, alpha)
    assert float(fast.distance) == pytest.approx(moments[0], rel=1e-9)
    assert float(fast.step) == pytest.approx(moments[3], rel=1e-9)  # a step is −η v


def test_lyapunov_closed_form_equals_quadrature() -> None:
    for y in (0.3, 1.0, 2.0, 3.0, 4.5911, 7.0):
        slow, _ = quad(lambda u, y=y: math.log(abs(1 - u * y)), 0, 1, points=[min(1 / y, 1)])
        assert float(quadratic.lyapunov(y)[0]) == pytest.approx(slow, abs=1e-7)


def test_lyapunov_with_momentum_equals_one_matrix_product_at_a_time() -> None:
    u = uniform(200, 2)
    slow = []
    for path in u.T:
        z, total = np.array([1.0, 0.0]), 0.0
        for weight in path:
            z = step_matrix(0.8, weight, 0.9) @ z
            total += math.log(np.abs(z).sum())
            z /= np.abs(z).sum()
        slow.append(total / len(u))
    fast = quadratic.lyapunov([0.8], u, 0.9)
    np.testing.assert_allclose(fast, [np.mean(slow)], rtol=1e-12)


def test_settled_after_equals_a_loop() -> None:
    noise = np.random.default_rng(0).standard_normal((50, 30))
    distance = np.abs(noise) / np.arange(1, 51)[:, None]
    distance[7, 3] = np.nan
    for tolerance in (0.01, 0.1, 10.0):
        fast = quadratic.settled_after(distance, tolerance)
        for column, got in zip(distance.T, fast, strict=True):
            late = [t for t, d in enumerate(column) if not d <= tolerance]
            want = 0 if not late else late[-1] + 1
            assert got == (want if want < len(column) else math.inf)


# --- prediction 1: the mean update -----------------------------------------------------------


def test_constant_half_is_half_the_rate_with_twice_the_decay_exactly() -> None:
    half = quadratic.arm_weights("constant 1/2", 50, 1, 0)
    a = quadratic.descend(1.0, 1.0, 0.1, half, momentum=0.9, weight_decay=0.2, target=3.0)
    b = quadratic.descend(1.0, 1.0, 0.05, half * 2, momentum=0.9, weight_decay=0.4, target=3.0)
    c = quadratic.descend(1.0, 1.0, 0.05, half * 2, momentum=0.9, weight_decay=0.2, target=3.0)
    np.testing.assert_allclose(a, b, rtol=1e-13)
    assert abs(float(a[-1, 0, 0] - c[-1, 0, 0])) > 0.1  # λ unchanged is a third, different one


def test_rg_follows_constant_half_in_the_mean() -> None:
    half = quadratic.arm_weights("constant 1/2", 30, 1, 0)
    rg, mean = (
        quadratic.descend(1.0, 1.0, 0.3, u, momentum=0.5, weight_decay=0.2, target=3.0)[..., 0]
        for u in (uniform(30, 20_000), half)
    )
    error = rg.std(1) / math.sqrt(rg.shape[1])
    assert (np.abs(rg.mean(1) - mean[:, 0])[1:] < 4.5 * error[1:]).all()


# --- prediction 2: the velocity averages u, the position does not -----------------------------


def test_velocity_noise_is_a_third_and_a_thirty_ninth() -> None:
    assert float(quadratic.velocity_noise(0.5)) == pytest.approx(1 / 3, rel=1e-14)
    assert float(quadratic.velocity_noise(0.95)) == pytest.approx(1 / 39, rel=1e-13)


@pytest.mark.parametrize("alpha", MOMENTA)
def test_velocity_noise_is_met_by_simulation(alpha: float) -> None:
    v = quadratic.velocity(uniform(300, 20_000), alpha)[-1]
    measured = v.var() / v.mean() ** 2 / (1 / 3)
    assert measured == pytest.approx(float(quadratic.velocity_noise(alpha)), rel=0.05)


@pytest.mark.parametrize("alpha", MOMENTA)
def test_small_rates_keep_four_thirds_of_the_error_at_every_momentum(alpha: float) -> None:
    rg = quadratic.stationary(1e-7, *ARMS["RG"], alpha)
    half = quadratic.stationary(1e-7, *ARMS["constant 1/2"], alpha)
    plain = quadratic.stationary(1e-7, *ARMS["plain"], alpha)
    assert float(rg.distance / half.distance) == pytest.approx(4 / 3, rel=1e-5)
    assert float(rg.distance / plain.distance) == pytest.approx(2 / 3, rel=1e-5)
    assert float(rg.step / plain.step) == pytest.approx(1 / 3, rel=1e-5)


# --- prediction 3: the noise ------------------------------------------------------------------


def test_gradient_covariance_is_exact_for_listed_laws() -> None:
    gradients = np.random.default_rng(0).normal((1.0, 0.2), 1.0, (7, 2))
    products = np.array([u * g for u in COIN for g in gradients])
    want = np.cov(products.T, bias=True)
    got = quadratic.gradient_covariance(
        gradients.mean(0), np.cov(gradients.T, bias=True), COIN.mean(), (COIN**2).mean()
    )
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_uniform_weight_is_three_quarters_of_a_batch() -> None:
    m1, m2 = ARMS["RG"]
    assert m1**2 / m2 == pytest.approx(3 / 4, rel=1e-15)
    relative = quadratic.gradient_covariance([0.0], [[1.0]], m1, m2)[0, 0] / m1**2
    assert relative == pytest.approx(4 / 3, rel=1e-14)


# --- prediction 4: the thresholds --------------------------------------------------------------


def test_the_four_thresholds() -> None:
    assert [float(quadratic.threshold(*ARMS[arm])) for arm in ARMS] == pytest.approx([2, 4, 3])
    z = quadratic.almost_sure_threshold()
    assert z == pytest.approx(4.5911, abs=5e-5)
    assert (z - 1) * math.log(z - 1) == pytest.approx(z, rel=1e-9)  # the equation it solves


def test_mean_square_threshold_by_simulation_on_either_side() -> None:
    x = quadratic.descend(1.0, [2.7, 3.3], 1.0, uniform(4, 40_000))
    below, above = (x[-1] ** 2).mean(0)
    assert below < 0.5
    assert above > 2


def test_almost_sure_threshold_by_simulation_on_either_side() -> None:
    x = quadratic.descend(1.0, [4.3, 4.9], 1.0, uniform(500, 400))
    below, above = np.median(np.abs(x[-1]), 0)
    assert below < 1e-6
    assert above > 1e3


def test_plain_and_constant_half_by_simulation_on_either_side() -> None:
    for arm, edge in (("plain", 2.0), ("constant 1/2", 4.0)):
        u = quadratic.arm_weights(arm, 500, 1, 0)
        below, above = np.abs(quadratic.descend(1.0, [edge - 0.1, edge + 0.1], 1.0, u)[-1, 0])
        assert below < 1e-6
        assert above > 1e6


def test_equal_moments_leave_the_almost_sure_threshold_open() -> None:
    for law in (TWO_POINT, COIN):
        assert law.mean() == pytest.approx(1 / 2)
        assert (law**2).mean() == pytest.approx(1 / 3)
    assert quadratic.almost_sure_threshold(TWO_POINT[:, None]) == pytest.approx(6, abs=1e-9)
    assert quadratic.almost_sure_threshold(COIN[:, None]) == pytest.approx(3, abs=1e-9)


def test_with_momentum_above_one_half_rg_is_less_stable_than_plain() -> None:
    momenta = (0.4, 0.5, 0.6)
    lower, equal, higher = quadratic.threshold(*ARMS["RG"], momenta) - quadratic.threshold(
        *ARMS["plain"], momenta
    )
    assert lower > 0
    assert equal == pytest.approx(0, abs=1e-12)
    assert higher < 0
    sure = quadratic.almost_sure_threshold(uniform(1500, 24), 0.95, tolerance=1e-2)
    assert float(quadratic.threshold(*ARMS["RG"], 0.95)) < sure < 1.2


@pytest.mark.parametrize("alpha", [0.6, 0.9, 0.95])
def test_rg_loses_its_lead_over_plain_at_the_stated_rate(alpha: float) -> None:
    y = 2 * (1 - alpha**2) / alpha
    errors = [float(quadratic.stationary(y, *ARMS[arm], alpha).distance) for arm in ("RG", "plain")]
    assert errors[0] == pytest.approx(errors[1], rel=1e-12)
    y = 4 * (1 - alpha**2)
    sizes = [float(quadratic.stationary(y, *ARMS[arm], alpha).step) for arm in ("RG", "plain")]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-12)


@pytest.mark.parametrize(("arm", "alpha"), [("plain", 0.0), ("RG", 0.0), ("RG", 0.9)])
def test_stationary_is_met_by_simulation(arm: str, alpha: float) -> None:
    y, u = 0.3, quadratic.arm_weights(arm, 1500, 400, 0)
    got, want = quadratic.sample_stationary(y, u, alpha), quadratic.stationary(y, *ARMS[arm], alpha)
    assert got.distance.shape == got.step.shape == (400, 1)
    assert got.distance.mean() == pytest.approx(float(want.distance), rel=0.05)
    assert got.step.mean() == pytest.approx(float(want.step), rel=0.05)


def test_stationary_is_infinite_past_the_threshold() -> None:
    assert np.isinf(quadratic.stationary([3.001, 3.5], *ARMS["RG"]).distance).all()


# --- prediction 5: the best rate ----------------------------------------------------------------


def test_the_best_rate_on_one_mode() -> None:
    rates = np.linspace(0.1, 2.9, 281)  # 1.5 is among them
    factor = quadratic.growth(rates, *ARMS["RG"]) ** 2
    assert rates[factor.argmin()] == pytest.approx(1.5)
    assert factor.min() == pytest.approx(0.25, rel=1e-12)
    twin, _ = quad(lambda u: (1 - 1.5 * u) ** 2, 0, 1)
    assert twin == pytest.approx(0.25, rel=1e-12)


# --- intervals and errors -------------------------------------------------------------------------


def test_reduction_covers_the_truth_about_95_times_in_100() -> None:
    draw, hits = np.random.default_rng(0), 0
    for _ in range(400):
        found = quadratic.reduction(draw.exponential(2.0, 200), draw.exponential(1.0, 200))
        hits += found.low < 50 < found.high
    assert 0.92 < hits / 400 < 0.98
    assert quadratic.reduction([2.0, 2.0], [1.0, 1.0]) == pytest.approx((50, 50, 50, 0))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: quadratic.growth(1.0, 1.0, 1.0, 1.0), "momentum=1.0"),
        (lambda: quadratic.threshold(0.5, 0.2), "m2=0.2"),
        (lambda: quadratic.arm_weights("rg", 1, 1, 0), "arm='rg'.*'RG'"),
        (lambda: quadratic.arm_weights("RG", 0, 1, 0), "steps=0"),
        (lambda: quadratic.descend(1.0, 1.0, 0.1, [1.0]), r"\(1,\).*\[steps, paths\]"),
        (lambda: quadratic.descend(1.0, 1.0, -0.1, [[1.0]]), "lr=-0.1"),
        (lambda: quadratic.lyapunov(1.0, momentum=0.5), "momentum=0.5 needs weights"),
        (lambda: quadratic.reduction([1.0], [1.0]), r"\[1, 1\]"),
    ],
)
def test_errors_name_the_parameter_and_its_value(call: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()  # type: ignore[operator]
