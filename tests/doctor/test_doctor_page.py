import base64
import io
import re

import pytest
from broken_stores import change_row, study, write_store
from PIL import Image

from igcl_lightning.cli import main
from igcl_lightning.doctor.examination import Examination
from igcl_lightning.doctor.findings import Finding
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
    assert re.findall(r"<article>\n<h2>(.*?)</h2>", html) == ["row-0", "row-8", "row-11"]
    assert len(pictures(html)) == 3
    assert all(picture.size == (32, 32) for picture in pictures(html))
    assert html.count("<svg") == 3
    assert '<mark class="OBS-DP" title="OBS-DP">' in html
    assert "<dt>present</dt><dd>Edema" in html
    assert "<dt>study</dt><dd>study-8</dd>" in html
    assert "Small right effusion of 2 mm." in html


def test_suspects_come_before_samples_with_their_pictures(store):
    change_row(store, "test", 0, patient="patient-0")
    html = page_of(store, "--samples", "1")
    head, _, samples = html.partition("Sample pairs")
    assert "Rows to look at" in head
    assert re.findall(r"<figcaption>(.*?)<br>", head) == ["row-0", "row-5"]
    assert len(pictures(samples)) == 1
    assert '<span class="error">error</span><span>patients</span>' in head


def test_labels_are_a_table_by_split(store):
    cells = "<td>4 (50.0%)</td><td>8</td><td>0 (0.0%)</td><td>2</td><td>2 (100.0%)</td><td>2</td>"
    assert f"<tr><td>Edema</td>{cells}</tr>" in page_of(store)


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
    assert not re.search(r"<(script|link|iframe|object)|@import|href=|\son\w+=", html)
    assert all(source.startswith("data:image/jpeg;base64,") for source in re.findall(r'src="([^"]*)"', html))
    addresses = set(re.findall(r"https?://[^\s\"]+", re.sub(r"base64,[^\"]+", "", html)))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html


@pytest.mark.parametrize("image", [None, {"bytes": b"nothing to decode", "path": None}])
def test_an_image_that_cannot_be_decoded_has_a_place(store, image):
    change_row(store, "train", 0, image=image)
    assert "cannot be decoded</div>" in page_of(store)


def test_a_graph_that_does_not_fit_its_text_is_told(store):
    change_row(store, "train", 0, graph=_broken_graph(store))
    assert "no graph to draw" in page_of(store)


def _broken_graph(store):
    from igcl_lightning.data.store import Store

    graph = Store(store).table("train").with_format("arrow")[0].to_pylist()[0]["graph"]
    return graph | {"end": [99] * len(graph["end"])}


def test_findings_of_a_config_without_a_store_are_a_page(tmp_path):
    examination = Examination("a <b> config.yaml", [Finding("error", "config", "what <i> is wrong")])
    write_page(tmp_path / "page.html", examination, 24)
    html = (tmp_path / "page.html").read_text()
    assert "what &lt;i&gt; is wrong" in html
    assert "a &lt;b&gt; config.yaml: doctor" in html
    assert "Sample pairs" not in html
