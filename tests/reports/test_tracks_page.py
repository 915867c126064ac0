"""The page of linked tracks: in a browser, and what it holds where there is much or nothing."""

import csv
import dataclasses
import io
import re
import shutil

import numpy as np
import pytest

from keras_reid.data.corrections import read_corrections
from keras_reid.reports import tracks_page
from keras_reid.reports.timelines import as_moment, as_time, span_in_words
from keras_reid.reports.tracks_page import write_tracks_page
from keras_reid.tracks.corrections import said_of_tracks
from keras_reid.tracks.linking import link
from tests.tracks.planted import planted, tracks_of, with_crops

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    """Tracks with crops, in cameras with odd names, their links and the folder with the page."""
    folder = tmp_path_factory.mktemp("linked")
    tracks, persons = planted(people=8, visits=4, cameras=3, noise=0.6, seed=0)
    names = {"camera 0": "lobby <1>", "camera 1": 'the "old" door, left', "camera 2": "\u05e9\u05e2\u05e8"}
    frame = tracks.frame.assign(camera=tracks.frame.camera.map(names), start=tracks.frame.start + 1.79e9)
    tracks = dataclasses.replace(tracks, frame=frame.assign(end=tracks.frame.end + 1.79e9))
    tracks = with_crops(tracks, folder, persons)
    links = link(tracks, threshold=2.4)
    write_tracks_page(folder / "tracks.html", tracks, links, folder, title="</title><script>", source="a & b")
    return tracks, links, folder


def test_the_page_in_a_browser(linked):
    if not CHROMIUM:
        pytest.skip("NOTICE: no chromium here, the page of tracks was not opened: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="NOTICE: no playwright here, no page was opened")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="NOTICE: no axe-core here")
    tracks, links, folder = linked
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(color_scheme="dark").new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((folder / "tracks.html").as_uri())
        assert page.locator(".timeline .bar").count() == len(tracks)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert all(page.evaluate("[...document.images].map((image) => image.complete && image.naturalWidth > 0)"))
        assert [one["id"] for one in axe.Axe().run(page).response["violations"]] == []
        page.set_viewport_size(PHONE)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]

        # A link is parted, another joined, a third one taken back; kept over a reload, exported, and applied.
        counter = page.locator("#count")
        page.get_by_role("button", name="wrong link").first.press("Enter")
        page.get_by_role("button", name="same person").nth(1).click()
        page.get_by_role("button", name="wrong link").nth(2).click()
        page.locator("#undo").click()
        page.reload()
        assert counter.inner_text() == "2 corrections."
        with page.expect_download() as download:
            page.locator("#export").click()
        rows = list(csv.reader(io.StringIO(download.value.path().read_text(encoding="utf-8"), newline="")))
        assert rows[0] == ["image_path", "other_path", "verdict"] and [row[2] for row in rows[1:]] == [
            "not the same",
            "same",
        ]
        same, different = said_of_tracks(tracks, read_corrections(download.value.path()), folder)
        assert (len(same), len(different)) == (1, 1)
        (one, other), (third, fourth) = different[0], same[0]
        assert links.identities[one] == links.identities[other] and links.identities[third] != links.identities[fourth]
        again = link(tracks, threshold=2.4, same=same, different=different).identities
        assert again[one] != again[other] and again[third] == again[fourth]
        page.locator(".timeline a").first.click()
        assert re.fullmatch(r".*#person-\d+", page.url)
        assert said == [] and [url for url in asked if not re.match("data:|blob:|file:", url)] == []
        browser.close()


def test_names_are_text_and_every_link_tells_its_distance(linked):
    tracks, links, folder = linked
    html = (folder / "tracks.html").read_text(encoding="utf-8")
    assert "<script>:" not in html and "&lt;/title&gt;&lt;script&gt;" in html and "lobby &lt;1&gt;" in html
    table = tracks_page._each_once(links.links)
    assert 0 < len(table) < len(links.links)
    for one in table.itertuples():
        assert f"distance {one.distance:.3g}</p>" in html and f"next best {one.next_distance:.3g}, identity" in html
    assert f"32 tracks of 3 cameras are {links.identities.max()} people" in html


def test_a_page_of_many_people_shows_the_first_of_them(linked, monkeypatch):
    tracks, links, folder = linked
    monkeypatch.setattr(tracks_page, "LARGEST", 150_000)
    write_tracks_page(folder / "small.html", tracks, links, folder)
    html = (folder / "small.html").read_text(encoding="utf-8")
    assert len(html) < 150_000 and re.search(r"The page shows the first \d people of several tracks", html)
    assert re.search(r"The first \d+ of \d+ tracks", html)


def test_a_page_without_tracks_or_links(tmp_path):
    none = with_crops(tracks_of([], np.zeros((0, 2))), tmp_path, [0])
    write_tracks_page(tmp_path / "none.html", none, link(none, threshold=1.0), tmp_path)
    assert "No track was found" in (tmp_path / "none.html").read_text(encoding="utf-8")
    one = with_crops(tracks_of([("door", 0, 0)], [[1.0]]), tmp_path, [0])
    write_tracks_page(tmp_path / "one.html", one, link(one, threshold=1.0), tmp_path)
    html = (tmp_path / "one.html").read_text(encoding="utf-8")
    assert "1 track of 1 camera are 1 person" not in html and "1 track of 1 camera is 1 person" in html


def test_times_in_words():
    assert (as_time(3725.9), as_time(1.79e9)) == ("1:02:05", "14:13:20")
    assert as_time(1.79e9 - 2.4e-7) == "14:13:20"
    assert (as_moment(90000), as_moment(1.79e9)) == ("25:00:00", "2026-09-21 14:13:20 UTC")
    assert span_in_words(0, 61) == "0:00:00 to 0:01:01 since the start"
    assert span_in_words(1.79e9, 1.79e9 + 36000) == "2026-09-21 14:13:20 to 2026-09-22 00:13:20 UTC"
