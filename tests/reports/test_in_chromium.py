"""The page in a browser: nothing fails, nothing leaves it, and filters, links, keyboard and corrections work."""

import csv
import io
import json
import re
import shutil
from urllib.parse import quote

import pytest

from keras_reid.data.corrections import read_corrections
from tests.reports.pages import HEBREW, PEOPLE, embedded_of, write

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if not CHROMIUM:
    pytest.skip("NOTICE: no chromium here, pages were not opened: apt-get install chromium", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="NOTICE: no playwright here, pages were not opened")
expect = playwright.expect  # waits by itself; wait_for_function would evaluate a string, which the page forbids
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def odd_file(tmp_path_factory):
    """The page of a dataset with odd names, a missing photo and one that cannot be decoded."""
    path = tmp_path_factory.mktemp("odd") / "odd.html"
    write(path, embedded_of(path.parent, spread=2.0), title="</title><script>", source='a <b> & "c"', threshold=2.5)
    return path


class Tab:
    """A file in the browser, what it said on the console, and what it asked for."""

    def __init__(self, browser, path):
        self.page = browser.new_context(viewport=WIDE, color_scheme="light").new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    @property
    def left(self) -> list[str]:
        """What was asked of anything but the file itself."""
        return [url for url in self.asked if not url.startswith(("data:", "blob:")) and not url.endswith(".html")]


@pytest.fixture(scope="module")
def tab(browser, odd_file):
    tab = Tab(browser, odd_file)
    yield tab
    assert tab.said == [] and tab.left == []  # after all that was done with it


@pytest.fixture
def page(tab):
    """The tab with the page as it is when it is first opened."""
    tab.page.evaluate("localStorage.clear()")
    tab.page.goto("about:blank")
    tab.page.goto(tab.asked[0])
    return tab.page


def pictures(page) -> list[bool]:
    return page.evaluate("[...document.images].map((image) => image.complete && image.naturalWidth > 0)")


def findings(page) -> list[str]:
    """Returns what axe-core finds that is serious or critical."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="NOTICE: no axe-core here")
    found = [one for one in axe.Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


def test_every_picture_is_there_and_everyone_can_use_it_in_the_dark_and_on_a_phone(page):
    page.emulate_media(color_scheme="dark")
    assert len(pictures(page)) > 50 and all(pictures(page))
    assert findings(page) == []
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light")


def test_a_run_s_page_shows_attention_where_it_was_asked_for(browser, finished_run):
    tab = Tab(browser, finished_run / "report.html")
    assert all(pictures(tab.page)) and findings(tab.page) == []
    button = tab.page.locator(".look").first
    article = tab.page.locator("article.query").first
    assert article.locator(".seen:visible").count() == 0
    button.press("Enter")
    assert article.locator(".seen:visible").count() == 2 and button.get_attribute("aria-pressed") == "true"
    tab.page.locator(".look").nth(1).click()  # in the same list: one pair at a time
    assert article.locator(".seen:visible").count() == 2 and button.get_attribute("aria-pressed") == "false"
    tab.page.locator(".look").nth(1).click()
    assert article.locator(".seen:visible").count() == 0
    assert tab.said == [] and tab.left == []


def test_the_theme_is_the_system_s_until_it_is_switched(page):
    page.emulate_media(color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    button = page.locator("#theme")
    button.click()
    assert button.inner_text() == "Theme: light" and page.evaluate(ground) == light
    button.click()
    dark = page.evaluate(ground)
    assert button.inner_text() == "Theme: dark" and dark != light
    page.reload()
    assert page.evaluate(ground) == dark


def test_filters(page):
    shown = lambda: page.locator("article.query:visible").count()  # noqa: E731
    everything, status = shown(), page.locator("#filtered")
    assert status.inner_text() == f"{everything} of {everything} lists shown" == "18 of 18 lists shown"
    page.locator("input[name=text]").fill(HEBREW + '"')  # of the file's name
    assert shown() == 18
    page.locator("input[name=text]").fill("<SCRIPT>alert")
    people = page.locator("article.query:visible").evaluate_all("(all) => all.map((one) => one.dataset.person)")
    assert set(people) == {PEOPLE[0]} and status.inner_text() == f"{len(people)} of 18 lists shown"
    page.locator("button[type=reset]").click()
    expect(status).to_have_text(re.compile("^18 "))
    counts = []
    for outcome in ("first", "later", "skipped"):
        page.locator("select[name=outcome]").select_option(outcome)
        counts.append(shown())
    assert sum(counts) == 18 and counts[2] == 0 < min(counts[:2])
    assert page.locator(".none:visible", has_text="No list here").count() == 3
    page.locator("select[name=outcome]").select_option("")
    page.locator("select[name=camera]").select_option(label="lobby <1>")
    cameras = page.locator("article.query:visible").evaluate_all("(all) => all.map((one) => one.dataset.camera)")
    assert set(cameras) == {"lobby <1>"}


def test_a_link_opens_its_query_whatever_is_hidden(page):
    names = page.locator("article.query").evaluate_all("(all) => all.map((one) => one.dataset.query)")
    page.locator("select[name=outcome]").select_option("skipped")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = false; })")
    page.evaluate("(name) => { location.hash = name; }", f"#query={quote(names[-1])}")
    expect(page.locator("article.query:focus")).to_have_count(1)
    assert page.evaluate("document.activeElement.dataset.query") == names[-1]
    assert page.locator("article.query:focus").is_visible()
    page.evaluate("location.hash = '#query=nobody%'")
    expect(page.locator("#linked")).not_to_be_empty()
    assert "No query “nobody%” on this page: it shows" in page.locator("#linked").inner_text()


def test_corrections_are_kept_undone_and_exported(page, tmp_path):
    counter, groups = page.locator("#count"), page.locator("article.query .verdicts")
    assert counter.inner_text() == "No corrections yet."
    expected = []
    for place, verdict in ((0, "same"), (1, "bad crop"), (2, "not the same")):
        group = groups.nth(place)
        group.get_by_role("button", name=verdict, exact=True).press("Enter")
        expected.append([group.get_attribute("data-image"), group.get_attribute("data-other"), verdict])
    assert counter.inner_text() == "3 corrections."
    groups.nth(2).get_by_role("button", name="not the same").click()  # once more: taken back
    assert counter.inner_text() == "2 corrections."
    page.locator("#undo").click()
    page.reload()
    assert counter.inner_text() == "3 corrections."
    assert groups.nth(0).locator("[aria-pressed=true]").all_inner_texts() == ["same"]
    rows = exported(page)
    assert rows == [["image_path", "other_path", "verdict"], *expected]
    assert any('"' in path and "\n" in path and "," in path for path in rows[1])
    assert read_corrections(page.corrections_file).to_numpy().tolist() == expected

    page.locator("#clear").click()
    assert counter.inner_text() == "No corrections yet." and page.locator("#export").is_disabled()
    page.locator("#file").set_input_files(page.corrections_file)
    expect(counter).to_have_text(re.compile("^3 "))
    assert "3 read from" in counter.inner_text() and exported(page) == rows
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    page.locator("#file").set_input_files(tmp_path / "other.csv")
    expect(counter).to_have_text(re.compile("holds no corrections"))
    assert counter.inner_text().startswith("3 corrections.")


def test_a_suggestion_is_taken_by_one_button(page):
    button = page.locator(".suggested").first
    rows = json.loads(button.get_attribute("data-corrections"))
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == "true" and exported(page)[1:] == rows
    button.press("Enter")
    assert page.locator("#count").inner_text() == "No corrections yet."


def exported(page) -> list[list[str]]:
    with page.expect_download() as download:
        page.locator("#export").click()
    page.corrections_file = download.value.path()
    assert download.value.suggested_filename == "corrections.csv"
    return list(csv.reader(io.StringIO(page.corrections_file.read_text(encoding="utf-8"), newline="")))


def test_a_browser_that_keeps_nothing_says_so(browser, odd_file):
    context = browser.new_context()
    context.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('blocked'); } })")
    page = context.new_page()
    page.goto(odd_file.as_uri())
    page.locator(".verdicts button").first.click()
    assert "1 correction. This browser keeps nothing for this file" in page.locator("#count").inner_text()
    context.close()


def test_the_map_is_walked_by_arrow_keys(page):
    svg, shown = page.get_by_role("listbox"), page.locator(".point-shown")
    svg.focus()
    seen = set()
    for key in ["Home"] + 6 * ["ArrowRight"] + 6 * ["ArrowDown"] + 6 * ["ArrowLeft"]:
        page.keyboard.press(key)
        chosen = page.locator(".point[aria-selected=true]")
        assert chosen.count() == 1 and chosen.get_attribute("id") == svg.get_attribute("aria-activedescendant")
        assert chosen.get_attribute("data-person") in shown.inner_text()
        seen.add(chosen.get_attribute("id"))
    assert len(seen) > 5
    page.locator(".point").nth(5).hover()
    assert page.locator(".point").nth(5).get_attribute("aria-selected") == "true"


def test_the_keyboard_reaches_the_content_first(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
