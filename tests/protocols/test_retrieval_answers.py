"""Retrieval over a split: what matches, which rows are searched, and a module's answers against its own scores."""

import io
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import CLASS
from igcl_lightning.errors import IgclError
from igcl_lightning.evaluation.predictions import Run
from igcl_lightning.evaluation.retrieval import summarise_retrieval
from igcl_lightning.graphs.schema import stable_hash
from igcl_lightning.modules import IGCL, RECLF, SimCLR
from igcl_lightning.phantom import FINDINGS
from igcl_lightning.protocols import retrieval
from igcl_lightning.protocols.contestants import Contestant
from igcl_lightning.protocols.hard_negatives import matched_pairs
from igcl_lightning.protocols.pictures import SIDE
from igcl_lightning.protocols.retrieval import Retrieval, retrieval_answers
from stores import prepare_studies

SMALL = {"image": {"backbone": "test_resnet", "size": 32}, "projection": {"channels": 16}}
REPORTS = {
    1: "Small left pleural effusion.",
    4: "There is a small left pleural effusion.",  # states the same in other words
    7: "Chest.",  # states nothing, and so does the next, in the same words
    9: "Chest.",
    11: "",
    13: "",
}


def study(index):
    """A phantom of the test split; every fifth has two images. Some have a report of their own, most have a class.

    The record 17 is a further report of study 16.
    """
    made = phantom_study(index, size=64, views="frontal")
    (image,) = made.images
    images = (image, replace(image, image_id=f"{image.image_id}-b", source=255 - image.source))[: 1 + (index % 5 == 0)]
    report = {"report": {"findings": REPORTS[index]}, "graph": None} if index in REPORTS else {}
    classes = {CLASS: "Consolidation" if index == 11 else ("Edema", "Pleural Effusion", None)[index % 3]}
    first = phantom_study(index - (index == 17), size=64, views="frontal")
    ids = {"study_id": first.study_id, "patient_id": first.patient_id}
    return replace(made, split="test", images=images, extra=classes, **ids, **report)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "pool"
    studies = [partial(study, index) for index in range(30)]
    prepare_studies(studies, path, labels=FINDINGS, extra=[CLASS], options=Options(size=64, lossless=True))
    return path


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return IGCL(**SMALL, graph={"channels": 32}).eval()


@pytest.fixture(scope="module")
def local():
    torch.manual_seed(0)
    return RECLF(**SMALL, text={"channels": 32}, matching={"channels": 16}).eval()


def same(store, words):
    """Which rows with words match, from the columns of the store."""
    graph, studies = store.column("test", "graph"), store.column("test", "study")
    keys = [(row["key"], row["text"], study) for row, study in zip(graph, studies, strict=True)]
    kept = [row for row, has in zip(keys, words, strict=True) if has]
    return torch.tensor(
        [[(a[0] == b[0] >= 0) or a[1] == b[1] or a[2] == b[2] for b in kept] for a in kept]
    ), torch.tensor([[a[2] == b[2] for b in kept] for a in kept])


def ranks(scores, right, left_out):
    found = []
    for score, hits, out in zip(scores.tolist(), right.tolist(), left_out.tolist(), strict=True):
        order = sorted((j for j in range(len(score)) if not out[j]), key=lambda j: (-score[j], hits[j]))
        hit = [hits[j] for j in order]
        found.append(1 + hit.index(True) if any(hit) else 0)
    return found


def test_answers_equal_a_loop_over_the_store(module, store):
    opened = Store(store)
    words = opened.stating("test", "report")
    assert (~words).sum() == 3
    pairs = matched_pairs(module, store)
    scores = pairs.first[words] @ pairs.second[words].T
    right, study = same(opened, words)
    assert (right & ~study).any(), "another study states the same"
    there, back = retrieval_answers(module, store, batch_size=7)
    assert (there.direction, back.direction) == ("image_to_graph", "graph_to_image")
    nothing = torch.zeros_like(right)
    for answers, table in ((there, scores), (back, scores.T)):
        assert answers.rank.tolist() == [ranks(table, right, nothing), ranks(table, right & ~study, study)]
    assert (there.patient == pairs.patient[words].numpy()).all()


def test_the_nearest_are_kept_with_whether_they_match(module, store):
    opened = Store(store)
    words = opened.stating("test", "report")
    pairs = matched_pairs(module, store)
    scores = pairs.first[words] @ pairs.second[words].T
    right, _ = same(opened, words)
    rows = np.array(opened.column("test", "row"), object)[words]
    for answers, table in zip(retrieval_answers(module, store), (scores, scores.T), strict=True):
        assert (answers.row == rows).all()
        near = torch.from_numpy(answers.nearest)
        assert near.shape == (len(rows), retrieval.SHOWN)
        torch.testing.assert_close(table.gather(1, near), table.topk(retrieval.SHOWN).values, atol=1e-5, rtol=0)
        assert (answers.right == right.gather(1, near).numpy()).all()


def test_examples_are_the_first_patients_with_their_reports(module, store):
    opened, asked = Store(store), Retrieval(k=[1])
    igcl = Contestant("igcl", 1)
    lines = pd.concat([retrieval._lines(each, "test") for each in retrieval_answers(module, store, k=(1,))])
    (shown,) = asked.examples({igcl: lines, Contestant("other"): lines.head(0)}, opened)
    assert "igcl-1" in shown.title
    own = lines[lines["direction"] == "image_to_graph"].drop_duplicates("patient")
    assert len(shown.pictures) == retrieval.MOST_EXAMPLES < len(own)
    for picture, line in zip(shown.pictures, own.to_dict("records"), strict=False):
        (title, text), *found = picture.text
        assert title == f"own report: rank {line['rank']} of {len(lines) // 2}"
        row = stable_hash(line["row"])
        assert text[:20] == " ".join(opened.report_text(row).split())[:20]
        kinds = [name.partition(". ")[2] for name, _ in found]
        for place, kind in enumerate(kinds, start=1):
            right = line[f"found@{place}"] == line["row"], line[f"right@{place}"]
            assert kind == {(True, True): "own report", (False, True): "matches", (False, False): "other report"}[right]
        assert max(Image.open(io.BytesIO(picture.jpeg)).size) == SIDE
        assert str(line["rank"]) in picture.alt


def test_measured_parts_know_the_version_of_their_columns(store):
    assert Retrieval().settings(Contestant("igcl"), {})["columns"] == retrieval.COLUMNS_VERSION


def test_classes_of_a_5x200_set_are_the_labels_unless_others_are_asked_for(module, store):
    there, _ = retrieval_answers(module, store, k=(2,))
    assert there.labels == ("Edema", "Pleural Effusion")
    classes = np.array(Store(store).column("test", CLASS), object)[Store(store).stating("test", "report")]
    pairs = matched_pairs(module, store)
    words = Store(store).stating("test", "report")
    order = (pairs.first[words] @ pairs.second[words].T).argsort(dim=1, descending=True)[:, :2]
    expected = np.where(classes == "Edema", (classes[order] == "Edema").mean(axis=1), np.nan)
    np.testing.assert_allclose(there.precision[0, :, 0, 0], expected)
    there, _ = retrieval_answers(module, store, labels=["Pneumothorax"])
    assert there.labels == ("Pneumothorax",)


def test_rows_without_a_report_are_searched_if_asked_for(module, store):
    there, _ = retrieval_answers(module, store, keep_empty=True)
    assert len(there.patient) == Store(store).num_rows("test")
    empty = ~Store(store).stating("test", "report")
    assert (there.rank[1, empty] == 0).all(), "an empty report matches its own image only"


def test_a_local_score_orders_the_nearest_by_cosine(local, store, monkeypatch):
    exact, _ = retrieval_answers(local, store, score="local")
    assert (exact.rank[0] > 0).all()
    cosine, _ = retrieval_answers(local, store, score="global")
    assert not np.array_equal(exact.rank, cosine.rank)
    monkeypatch.setattr(retrieval, "SHORTLIST", 5)
    few, _ = retrieval_answers(local, store, score="local")
    assert not np.array_equal(few.rank, exact.rank)
    assert ((few.rank[0] <= 5) == (cosine.rank[0] <= 5)).all(), "the shortlist is that of the cosine"
    local.matching = replace(local.matching, global_weight=0.0)
    untrained, _ = retrieval_answers(local, store, score="local")
    assert np.array_equal(untrained.rank, exact.rank)


def test_records(module, store):
    answers = {Run("igcl", None, None, None): retrieval_answers(module, store)}
    records = summarise_retrieval(answers, store=store.name, split="test")
    names = {record["metric"] for record in records}
    assert {"image_to_graph_recall@5", "graph_to_image_median_rank", "image_to_graph_precision@1_without_own"} < names


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"split": "valid"}, "no split 'valid'"),
        ({"score": "local"}, "score 'local' is not one of global"),
        ({"labels": ["Edma"]}, "no label 'Edma'; it has .*, did you mean Edema?"),
    ],
)
def test_what_cannot_be_searched_is_an_error(module, store, options, expected):
    with pytest.raises(IgclError, match=expected):
        retrieval_answers(module, store, **options)


def test_a_module_without_reports_is_refused(store):
    with pytest.raises(IgclError, match="SimCLR reads no reports"):
        retrieval_answers(SimCLR(**SMALL), store)
