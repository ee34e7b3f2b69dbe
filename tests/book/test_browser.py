"""The built pages in headless Chromium, opened from disk as a reader opens them."""

import json
import os
import shutil
from urllib.parse import urlparse

import pytest

webdriver = pytest.importorskip("selenium.webdriver")
PHONE, WIDE = 390, 1400
THEMES = ("light", "dark")

# Formulas: how many there are, how many are rendered, how many MathJax could not read; and text
# outside code that still looks like TeX.
FORMULAS = r"""
const article = document.querySelector("article").cloneNode(true);
article.querySelectorAll("pre, code, mjx-container, script").forEach((node) => node.remove());
return {
  formulas: document.querySelectorAll("article .math").length,
  rendered: document.querySelectorAll("article .math mjx-container svg").length,
  unread: document.querySelectorAll("mjx-merror, [data-mjx-error]").length,
  raw: article.textContent.match(/\\\(|\\\[|\$\$|\$[^$\n]+\$|\\(frac|eta|lambda)/g) || [],
};
"""
# Text whose contrast with its background is under 4.5 : 1 (WCAG AA), in the parts styled by us.
PALE = r"""
const parts = (color) => color.match(/[\d.]+/g).map(Number);
const light = (c) => c.slice(0, 3).map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const found = parts(getComputedStyle(node).backgroundColor);
    if (found.length === 3 || found[3] === 1) return found;
  }
  return [255, 255, 255];
};
const ours = ".verdict th, .verdict td, .verdict strong, .provenance, .scorecard td, "
  + ".scorecard th, .scorecard td > *, .scorecard-filters button, .scorecard-count, "
  + ".verdict-map a, .verdict-map span, figcaption :not(.headerlink)";
return [...document.querySelectorAll(ours)].map((node) => {
  const [a, b] = [light(parts(getComputedStyle(node).color)), light(behind(node))];
  return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.textContent.slice(0, 40)];
}).filter(([contrast]) => contrast < 4.5);
"""
# The theme and the width of a page, when the page has taken the theme, or in a second.
PHONE_SHOWS = """
const [theme, done] = arguments, page = document.documentElement, end = Date.now() + 1000;
const ready = () => page.dataset.theme === theme || Date.now() > end
  ? setTimeout(() => done([page.dataset.theme, document.scrollingElement.scrollWidth]), 50)
  : setTimeout(ready, 20);
ready();
"""
MATHJAX_READY = """
const done = arguments[arguments.length - 1];
const ready = () => window.MathJax?.startup?.promise
  ? MathJax.startup.promise.then(() => done(true)) : setTimeout(ready, 20);
document.querySelector("article .math") ? ready() : done(false);
"""


def find(*names: str) -> str | None:
    return next((path for path in map(shutil.which, names) if path), None)


@pytest.fixture(scope="module")
def driver():
    chromium = find("chromium", "chromium-browser", "google-chrome")
    chromedriver = find("chromedriver")
    if not (chromium and chromedriver):
        told = "chromium and chromedriver not found: apt-get install chromium chromium-driver"
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    # The last two are for containers. None of them lets a page do more than a reader's browser.
    for flag in ("--headless=new", "--disable-gpu", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    found.set_script_timeout(60)
    yield found
    found.quit()


def look(driver, theme: str = "light", width: int = WIDE) -> None:
    """Choose the screen's width and what the reader's system prefers, light or dark."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


ARRIVED = "return document.readyState === 'complete' && !!document.querySelector('article')"


def show(driver, built, page: str) -> None:
    from selenium.common.exceptions import JavascriptException
    from selenium.webdriver.support.ui import WebDriverWait

    driver.get((built.html / f"{page}.html").as_uri())
    # index.html only leads to the first page; a script that it interrupts on the way is no error.
    waiting = WebDriverWait(driver, 30, 0.05, ignored_exceptions=[JavascriptException])
    waiting.until(lambda d: d.execute_script(ARRIVED))
    driver.execute_async_script(MATHJAX_READY)


def requests(driver) -> list[str]:
    """Return the addresses that the browser asked for since the last call."""
    messages = [json.loads(e["message"])["message"] for e in driver.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [params["request"]["url"] for params in sent]


def errors(driver) -> list[str]:
    return [e["message"] for e in driver.get_log("browser") if e["level"] == "SEVERE"]


@pytest.fixture(scope="module")
def seen(driver, built):
    """What the browser finds on each page, which it opens once: wide, then as two phones."""
    look(driver)
    requests(driver), errors(driver)  # what the browser did before the first page
    found = {}
    for page in (*built.pages, "index", "genindex"):
        show(driver, built, page)
        found[page] = driver.execute_script(FORMULAS)
        found[page] |= {"errors": errors(driver), "requests": requests(driver)}
        for theme in THEMES if page in built.pages else ():
            look(driver, theme, PHONE)
            shown = driver.execute_async_script(PHONE_SHOWS, theme)
            found[page][theme] = shown, driver.execute_script(PALE)
        look(driver)
    return found


def test_every_page_renders_its_formulas_without_errors_or_network(seen):
    for page, found in seen.items():
        assert found["rendered"] == found["formulas"], page
        assert found["unread"] == 0, page
        assert found["raw"] == [], page
        assert found["errors"] == [], page
        assert found["requests"], page
        schemes = {urlparse(address).scheme for address in found["requests"]}
        assert schemes <= {"file", "data", "blob"}, (page, found["requests"])
    formulas = sum(found["formulas"] for found in seen.values())
    assert formulas > 20, "hardly a formula was seen in the whole book"


@pytest.mark.parametrize("theme", THEMES)
def test_pages_fit_a_phone_and_are_readable_in_both_themes(seen, built, theme):
    for page in built.pages:
        (shown, width), pale = seen[page][theme]
        assert shown == theme, page
        # A phone widens its window for a page that does not fit, so compare with the screen.
        assert width <= PHONE + 1, f"{page} is {width} pixels wide on a phone of {PHONE}"
        assert pale == [], page


def test_search_finds_a_word_in_the_notebooks(driver, built):
    from selenium.webdriver.support.ui import WebDriverWait

    look(driver)
    driver.get((built.html / "search.html").as_uri() + "?q=momentum")
    links = "return [...document.querySelectorAll('#search-results li a')].map((a) => a.href)"
    found = WebDriverWait(driver, 30).until(lambda d: d.execute_script(links))
    pages = {urlparse(link).path for link in found}
    assert any(path.endswith(f"{page}.html") for path in pages for page in built.notebooks)
    assert errors(driver) == []


def test_the_scorecard_filters_by_verdict_and_by_paper(driver, built):
    show(driver, built, "book/scorecard")
    rows = """return [...document.querySelectorAll("table.scorecard tbody tr")]
        .filter((row) => row.offsetParent).map((row) => [row.dataset.verdict, row.dataset.paper])"""
    everything = driver.execute_script(rows)
    assert len(everything) > 40
    buttons = {
        (b.get_attribute("data-filter"), b.get_attribute("data-value")): b
        for b in driver.find_elements("css selector", ".scorecard-filters button")
    }
    verdicts = [value for kind, value in buttons if kind == "verdict"]
    papers = [value for kind, value in buttons if kind == "paper"]
    assert {v for v, _ in everything} == set(verdicts)
    assert {p for _, p in everything} == set(papers)

    for kind, column in (("verdict", 0), ("paper", 1)):
        for value in [value for k, value in buttons if k == kind]:
            buttons[kind, value].click()
            assert buttons[kind, value].get_attribute("aria-pressed") == "true"
            assert driver.execute_script(rows) == [r for r in everything if r[column] == value]
            buttons[kind, value].click()
    assert driver.execute_script(rows) == everything

    buttons["verdict", "contradicted"].click()
    buttons["paper", papers[0]].click()
    both = [r for r in everything if r == ["contradicted", papers[0]]]
    assert 0 < len(both) < [v for v, _ in everything].count("contradicted")
    assert driver.execute_script(rows) == both
    count = driver.find_element("css selector", ".scorecard-count").text
    assert count == f"{len(both)} of {len(everything)} claims"


def test_the_blind_test_counts_what_the_reader_prefers_and_tells_only_at_the_end(driver, tmp_path):
    from selenium.webdriver.common.by import By

    from rgkit.chapters import blind

    look(driver)
    pictures = {arm: f"data:image/svg+xml,<svg id='{arm}'/>" for arm in ("RG", "half", "plain")}
    asked = [("RG", "plain")] * 6 + [("half", "plain")] * 4
    every = [{"pair": f"{a}|{b}", "first": pictures[a], "second": pictures[b]} for a, b in asked]
    page = tmp_path / "blind.html"
    # The same lots in every run of this test.
    lots = "let s = 7; Math.random = () => (s = (s * 16807) % 2147483647) / 2147483647"
    page.write_text(f"<script>{lots}</script><body>{blind.page(every)}</body>")
    driver.get(page.as_uri())
    box = driver.find_element(By.CLASS_NAME, "blind")
    seen = set()
    for number in range(len(asked)):
        assert f"{number + 1} of {len(asked)}" in box.text
        assert "RG" not in box.text
        buttons = box.find_elements(By.CSS_SELECTOR, ".blind-pair button")
        sources = [b.find_element(By.TAG_NAME, "img").get_attribute("src") for b in buttons]
        seen.add(sources.index(pictures["plain"]))
        # This reader likes RG and never half.
        likes = [pictures["RG"] in s for s in sources]
        side = likes.index(True) if any(likes) else sources.index(pictures["plain"])
        buttons[side].click()
    assert seen == {0, 1}
    assert "You preferred RG to plain in 6 of 6 pairs" in box.text
    assert "in 3 % of such tests" in box.text  # 2 / 64
    assert "You preferred half to plain in 0 of 4 pairs" in box.text
    assert not box.find_element(By.CLASS_NAME, "blind-pair").is_displayed()
    assert errors(driver) == []
