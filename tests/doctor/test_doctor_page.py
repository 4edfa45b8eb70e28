import base64
import io
import re
from collections import Counter

import pytest
from broken_stores import change_row, study, write_store
from PIL import Image

from igcl_lightning.cli import main
from igcl_lightning.data.store import graph_of
from igcl_lightning.doctor.examination import Examination
from igcl_lightning.doctor.findings import Finding
from igcl_lightning.doctor.opened import OpenedStore
from igcl_lightning.doctor.page import write_page

NASTY = '<script>alert("x")</script> & <b>edema</b>'


def page_of(store, *words):
    path = store.parent / "page.html"
    main(["doctor", str(store), "--no-speed", "--html", str(path), *words])
    assert [entry.name for entry in store.parent.iterdir() if entry.name.startswith(".")] == []
    return path.read_text("utf-8")


def pictures(html):
    encoded = re.findall(r"data:image/jpeg;base64,([^\"]+)", html)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in encoded]


def test_sample_pairs_show_image_report_graph_and_labels(store):
    html = page_of(store, "--samples", "3")
    assert re.findall(r"<article>\n<h3>(.*?)</h3>", html) == ["row-0", "row-8", "row-11"]
    assert len(pictures(html)) == 3
    assert all(picture.size == (32, 32) for picture in pictures(html))
    assert html.count("<svg") == 1 + 3  # the tip of all arrows, and a graph of one component each
    assert '<mark class="OBS-DP" title="OBS-DP">' in html
    assert "<dt>present</dt><dd>Edema" in html
    assert "<dt>study</dt><dd>study-8</dd>" in html
    assert "<p><b>findings</b> Small right effusion of 2 mm.</p>" in html


def test_reports_keep_their_spaces_and_lines(store):
    change_row(store, "train", 0, report={"findings": "Small  right\neffusion of 2 mm.", "impression": ""})
    text = re.search('<p class="text">(.*?)</p>', page_of(store, "--samples", "1"), re.DOTALL)[1]
    assert re.sub("<[^>]*>", "", text) == "Small  right\neffusion of 2 mm."


def test_a_legend_counts_the_entities_of_all_rows(store):
    html = page_of(store, "--samples", "1")
    legend = re.findall(r'<li class="([\w-]+)">(\w+) \(\1\): (\d+)</li>', html)
    assert [(label, meaning) for label, meaning, _ in legend] == [
        ("ANAT-DP", "anatomy"), ("OBS-DP", "present"), ("OBS-U", "uncertain"), ("OBS-DA", "absent")
    ]  # fmt: skip
    graphs = [graph_of(row["graph"]) for row in rows_of(store)]
    counts = Counter(entity.label for graph in graphs for entity in graph.entities)
    assert {label: int(count) for label, _, count in legend if count != "0"} == counts


def test_what_is_ok_is_one_line_and_what_was_not_looked_at_is_told(store):
    html = page_of(store, "--rows", "5")
    shown, _, folded = html.partition("<details>")
    line = re.search(r'<summary><b class="ok">(\d+) ok:</b> (.*?)</summary>', folded)
    assert {"manifest", "splits", "patients"} <= set(line[2].split(", "))
    assert f"{line[1]} ok" in shown
    assert 'class="ok"' not in shown
    assert re.findall(r'<b class="not-examined">not examined</b><span>(\w+)</span>', shown) == [
        "images", "orientation", "shortcuts", "speed"
    ]  # fmt: skip
    assert "7 of 12 (58 %) images were not decoded" in shown


def test_no_page_names_the_folders_of_a_machine(tmp_path, monkeypatch):
    folder = tmp_path / "John Smith"
    folder.mkdir()
    store = write_store(folder / "mine", [study(number) for number in range(12)])
    (store / "valid" / "state.json").unlink()
    html = page_of(store)
    assert "<h1>mine</h1>" in html
    assert "<p>mine/valid: unreadable" in html
    assert "John" not in html
    monkeypatch.chdir(folder)
    said = f"/opt/venv/bin/lightning: 3 images/s, {folder}/t/a, s/mine/b, ../c, images/s/d, see https://x.org/y"
    write_page(tmp_path / "page.html", Examination("s/mine", [Finding("ok", "command", said)]), 0)
    shown = "lightning: 3 images/s, t/a, mine/b, ../c, images/s/d, see https://x.org/y"
    assert f"<p>{shown}</p>" in (tmp_path / "page.html").read_text()


def test_suspects_come_before_samples_with_their_pictures(store):
    change_row(store, "test", 0, patient="patient-0")
    html = page_of(store, "--samples", "1")
    head, _, samples = html.partition("Sample pairs")
    assert "Rows to look at" in head
    assert re.findall(r"<figcaption>(.*?)<br>", head) == ["row-0", "row-5"]
    assert len(pictures(samples)) == 1
    assert '<b class="error">error</b><span>patients</span>' in head


def test_labels_are_a_table_by_split(store):
    row = re.search("<tr><td>Edema</td>(.*?)</tr>", page_of(store), re.DOTALL)[1]
    cells = [" ".join(re.sub("<[^>]*>", "", cell).split()) for cell in re.findall("<td>(.*?)</td>", row)]
    assert cells == ["4 of 8 50.0%", "0 of 2 0.0%", "2 of 2 100.0%"]


def test_everything_a_store_says_is_escaped(tmp_path):
    nasty = study(
        0,
        study_id=f"study {NASTY}",
        patient_id=f"patient {NASTY}",
        report={"findings": NASTY, "impression": NASTY},
        labels={NASTY: 1.0},
    )
    others = [study(number, labels={NASTY: 0.0}) for number in range(1, 12)]
    path = write_store(tmp_path / "store", [nasty, *others], labels=[NASTY])
    change_row(path, "train", 0, row=f"row {NASTY}", sex=NASTY)
    change_row(path, "test", 0, row=f"row {NASTY}")  # the id stands twice: a finding that shows it
    html = page_of(path)
    assert "alert" in html
    assert "<script" not in html
    assert "<b>edema" not in html
    assert "row &lt;script&gt;" in html


def test_the_page_needs_no_network_and_no_script(store):
    html = page_of(store)
    assert not re.search(r"<(script|link|iframe|object)|@import|href=.(?!#)|\son\w+=", html)
    assert all(source.startswith("data:image/jpeg;base64,") for source in re.findall(r'src="([^"]*)"', html))
    assert "http" not in re.sub(r"base64,[^\"]+", "", html)
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html


@pytest.mark.parametrize("image", [None, {"bytes": b"nothing to decode", "path": None}])
def test_an_image_that_cannot_be_decoded_has_a_place(store, image):
    change_row(store, "train", 0, image=image)
    assert "cannot be decoded</div>" in page_of(store)


def test_a_graph_that_does_not_fit_its_text_is_told(store):
    change_row(store, "train", 0, graph=_broken_graph(store))
    assert "no graph to draw" in page_of(store)


def rows_of(store):
    opened = OpenedStore(store)
    return [opened.record(place) for place in opened.places(range(opened.num_rows))]


def _broken_graph(store):
    graph = rows_of(store)[0]["graph"]
    return graph | {"end": [99] * len(graph["end"])}


def test_findings_of_a_config_without_a_store_are_a_page(tmp_path):
    examination = Examination("a <b> config.yaml", [Finding("error", "config", "what <i> is wrong")])
    write_page(tmp_path / "page.html", examination, 24)
    html = (tmp_path / "page.html").read_text()
    assert "what &lt;i&gt; is wrong" in html
    assert "a &lt;b&gt; config.yaml: doctor" in html
    assert "Sample pairs" not in html
