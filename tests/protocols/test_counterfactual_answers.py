"""Reports told from their counterfactuals, against a loop that edits one graph at a time."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.store import Store
from igcl_lightning.data.twins import TwinDraw
from igcl_lightning.errors import IgclError
from igcl_lightning.modules import IGCL, RECLF
from igcl_lightning.nn.scoring import cosine_similarity
from igcl_lightning.phantom import FINDINGS
from igcl_lightning.phantom.case import find_case
from igcl_lightning.protocols.contestants import Contestant, from_checkpoint
from igcl_lightning.protocols.counterfactuals import Counterfactuals, Twins, _answers, _twins
from igcl_lightning.protocols.evaluation_table import read_protocols
from igcl_lightning.protocols.hard_negatives import HardNegatives, lines_of, report_choices, scorers
from igcl_lightning.protocols.phantom_stores import prepare_phantoms
from saved import save_as_fit
from stores import prepare_studies

SPLITS = [find_case(index).scene.patient.split for index in range(400)]
TESTED = [index for index, split in enumerate(SPLITS) if split == "test"]
VALIDATED = [index for index, split in enumerate(SPLITS) if split == "valid"][:24]
SIZES = {"image": {"backbone": "test_resnet", "size": 32}, "projection": {"channels": 64}}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "tested"
    studies = [partial(phantom_study, index, size=64, views="frontal") for index in (*TESTED, *VALIDATED)]
    prepare_studies(studies, path, labels=FINDINGS, options=Options(size=64, lossless=True))
    return path


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return IGCL(**SIZES, graph={"channels": 32}, matching={"weight": 1, "channels": 16}).eval()


def answers_of(module, store, kind, batch_size=64):
    """Return the answers of a module to the counterfactuals of the test split, by name of the score."""
    rows = _twins(module, store, kind, "test", batch_size)
    with module.evaluating():
        return {name: _answers(rows, score) for name, score in scorers(module).items()}


def test_answers_equal_a_loop_over_rows(module, store):
    for kind in ("side", "assertion"):
        scores = answers_of(module, store, kind, batch_size=16)
        rows = one_by_one(module, store, kind)
        assert list(scores) == ["global", "local", "both"]
        patients = list(dict.fromkeys(rows["patient"]))
        places = {patient: [at for at, each in enumerate(rows["patient"]) if each == patient] for patient in patients}
        for name, found in scores.items():
            score = module.scorer(name)
            assert found.own.patient.tolist() == rows["patient"]
            assert set(found.own.asked.tolist()) == {1}
            right = [score(*each[:2]) > score(each[0], each[2]) for each in rows["sides"]]
            assert found.own.right.tolist() == [int(each) for each in right]
            assert 0 < sum(right) < len(right)
            blind = []
            for at, patient in enumerate(rows["patient"]):
                following = places[patients[(patients.index(patient) + 1) % len(patients)]]
                image = rows["sides"][following[places[patient].index(at) % len(following)]][0]
                blind.append(int(score(image, rows["sides"][at][1]) > score(image, rows["sides"][at][2])))
            assert found.blind.right.tolist() == blind


@torch.no_grad()
def one_by_one(module, store, kind, split="test"):
    """Return the patient, and image, report and counterfactual, of each row of a split that has one."""
    data = PairedDataModule(str(store), batch_size=1)
    loader = data._shared_loader(data._pairs(Store(store), [split], ["graph"], TwinDraw([kind])))
    rows = {"patient": [], "sides": []}
    for pair in loader:
        if pair.twin.valid.all():
            inputs = (("image", pair.image), ("graph", pair.graph), ("graph", pair.twin.graph))
            encoded = [(side, module.encode(side, value)) for side, value in inputs]
            rows["sides"].append([module.matched(side, each, module.project(side, each)) for side, each in encoded])
            rows["patient"].append(int(pair.patient))
    return rows


class Blindfolded(IGCL):
    """Embeds all images alike."""

    def project(self, side, encoded):
        embedding = super().project(side, encoded)
        return embedding[:1].new_full((1, 64), 1 / 8).expand_as(embedding) if side == "image" else embedding


def test_a_model_that_does_not_look_tells_with_any_image(store):
    torch.manual_seed(0)
    module = Blindfolded(**SIZES, graph={"channels": 32}).eval()
    answers = answers_of(module, store, "assertion")["global"]
    assert answers.own.right.tolist() == answers.blind.right.tolist()
    assert len(np.unique(answers.own.right)) == 2


def test_words_are_edited_too(store):
    torch.manual_seed(0)
    words = RECLF(**SIZES, units="words", text={"channels": 32}, matching={"weight": 0}, srm={"steps": 0}).eval()
    own = answers_of(words, store, "side")["global"].own
    assert 0 < own.right.sum() < len(own.right)
    with pytest.raises(IgclError, match="place"):
        answers_of(words, store, "place")


def test_a_tie_counts_against_the_model():
    image, report, patient = torch.eye(4), torch.eye(4), torch.tensor([1, 1, 2, 2])
    found = _answers(Twins(image, report, report, patient), cosine_similarity)
    assert found.own.right.tolist() == found.blind.right.tolist() == [0, 0, 0, 0]
    assert _answers(Twins(image, report, -report, patient), cosine_similarity).own.right.tolist() == [1, 1, 1, 1]


@pytest.fixture(scope="module")
def contestants(module, store, tmp_path_factory):
    """A model of graphs with a local branch, one without, and one of words."""
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(1)
    plain = IGCL(**SIZES, graph={"channels": 32})
    words = RECLF(**SIZES, units="words", text={"channels": 32}, matching={"weight": 0}, srm={"steps": 0})
    named = {"local": module, "plain": plain, "words": words}
    paths = {name: save_as_fit(each, folder / f"{name}.ckpt", store) for name, each in named.items()}
    return [from_checkpoint(f"{name}={path}") for name, path in paths.items()]


def measured(protocol, contestants, store):
    protocol.check(Store(store), contestants)
    return {each: protocol.measure(each, Store(store), {}) for each in contestants}


def by_metric(records):
    return {(each["metric"], each["method"], each["versus"]): each for each in records}


def test_the_protocol_equals_a_loop_over_rows(module, store, contestants):
    """By the score of retrieval, on another split; a model of words is asked for what can be written."""
    protocol = Counterfactuals(kinds=["side", "assertion"], splits=["valid"])
    records, text = protocol.report(measured(protocol, contestants, store), Store(store))
    found = by_metric(records)
    for kind in protocol.kinds:
        rows, score, metric = (
            one_by_one(module, store, kind, "valid"),
            module.scorer("both"),
            f"counterfactual_accuracy_{kind}",
        )
        right = [float(score(*each[:2]) > score(each[0], each[2])) for each in rows["sides"]]
        own = found[metric, "local", None]
        assert own["value"] == pytest.approx(np.mean(right))
        assert (own["n"], own["split"], own["protocol"]) == (len(right), "valid", "counterfactuals")
        assert own["ci_low"] < own["value"] < own["ci_high"]
        other = found[metric, "plain", None]["value"]
        assert found[metric, "local", "plain"]["value"] == pytest.approx(own["value"] - other)
        assert ((metric, "words", None) in found) == ((metric, "local", "words") in found) == (kind == "side")
        assert f"report told from its counterfactual, {kind}, chance 0.5 [95 % interval over patients]\nlocal " in text
        assert (f"{metric}_blind", "plain", None) in found
        assert (f"{metric}_blind", "local", "plain") not in found
    assert text.count("the same without the image") == 2
    assert "that a method lacks" not in text


def test_a_model_that_sees_the_side_is_at_chance_with_another_image():
    rng = np.random.default_rng(0)
    side = torch.from_numpy(rng.choice([-1.0, 1.0], 800))[:, None]
    rows = Twins(side, side, -side, torch.arange(800) // 2)
    lines = lines_of({"": _answers(rows, lambda image, report: image @ report.T)}).assign(kind="side", split="test")
    records, _ = Counterfactuals().report({Contestant("a"): lines}, SimpleNamespace(path=Path("store")))
    own, blind = (each["value"] for each in records)
    assert own == 1
    following = side.reshape(400, 2).roll(-1, 0).reshape(-1, 1)
    assert blind == float((side == following).double().mean())
    assert 0.45 < blind < 0.55


@pytest.mark.parametrize("protocol", [Counterfactuals(score="each"), HardNegatives(score="each")])
def test_each_score_is_asked_apart_and_the_last_stands_in(protocol, store, contestants):
    """A model without a local branch is compared by its global score, and has no accuracy by others."""
    local, plain = contestants[:2]
    lines = measured(protocol, [plain, local], store)
    records, text = protocol.report(lines, Store(store))
    found = by_metric(records)
    metric = "counterfactual_accuracy_side" if protocol.name == "counterfactuals" else "within_patient_accuracy"
    shares = lines[local].query("image == 'own'").groupby("score")[["right", "asked"]].sum()
    assert set(shares.index) == {"global", "local", "both"}
    assert text.endswith("differences by a score that a method lacks are those to its last one")
    assert [line.split() for line in text.splitlines() if line.startswith(("method ", "difference "))] == [
        [corner, "global", "local", "both"] for corner in ("method", "difference", "method")
    ]
    for score, (right, asked) in shares.iterrows():
        assert found[f"{metric}_{score}", "local", None]["value"] == pytest.approx(right / asked)
        assert ((f"{metric}_{score}", "plain", None) in found) == (score == "global")
        assert ((f"{metric}_{score}_blind", "plain", None) in found) == (score == "global")
        alone = found[f"{metric}_global", "plain", None]["value"]
        assert found[f"{metric}_{score}", "plain", "local"]["value"] == pytest.approx(alone - right / asked)


def test_of_several_scores_the_last_stands_in():
    """A module of one's own may have other scores than a model with a local branch."""
    lines = pd.DataFrame(
        {"score": ["one", "two", "three"], "image": "own", "patient": 0, "right": [0, 1, 2], "asked": 2}
    )
    blind = lines.assign(image="blind")
    lines = pd.concat([lines, blind, lines.assign(patient=1), blind.assign(patient=1)])
    measured = {Contestant("a"): lines, Contestant("b"): lines[lines["score"] != "three"]}
    records, _ = report_choices(measured, "m", "", [("a", "b")], protocol="p", store="s", split="test")
    assert by_metric(records)["m_three", "a", "b"]["value"] == 1 - 0.5


def test_scores_are_those_of_the_option(store, contestants):
    local = contestants[0]
    apart = measured(Counterfactuals(score="each"), [local], store)[local]
    for score in ("global", "local"):
        one = measured(Counterfactuals(score=score), [local], store)[local]
        expected = apart[apart["score"] == score]
        assert one["right"].tolist() == expected["right"].tolist()
        assert set(one["score"]) == {""}
    assert len(set(apart.groupby("score")["right"].agg(tuple))) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ["sides"]}, "protocol counterfactuals: kinds 'sides' is not one of side, .*, did you mean side?"),
        ({"kinds": []}, r"kinds are \[\], not one or more, each once"),
        ({"kinds": ["side", "side"]}, "kinds are .*, not one or more, each once"),
        ({"score": "best"}, "protocol counterfactuals: score 'best' is not one of global, local, both, each"),
        ({"score": "local"}, "protocol counterfactuals: plain has no score 'local'"),
        ({"splits": ["train"]}, "has no split 'train' for the protocol counterfactuals"),
    ],
)
def test_what_cannot_be_asked_is_one_line(options, message, store, contestants):
    with pytest.raises(IgclError, match=message) as error:
        Counterfactuals(**options).check(Store(store), contestants)
    assert "\n" not in str(error.value)


def test_a_kind_needs_two_patients(store, contestants, monkeypatch):
    opened = Store(store)
    known = opened.report_graph(next(row for row, (split, _) in opened.rows.items() if split == "test"))
    monkeypatch.setattr("igcl_lightning.protocols.counterfactuals.edits", lambda graph, kind: graph == known)
    with pytest.raises(IgclError, match="patients of test with a counterfactual of the kind 'side': 1; the protocol"):
        Counterfactuals().check(opened, contestants)


def test_features_of_nodes_have_no_edits(store, module, tmp_path):
    path = save_as_fit(module, tmp_path / "node_text.ckpt", store)
    stored = torch.load(path, weights_only=True)
    torch.save(stored | {"inputs": stored["inputs"] | {"node_text": {"model": "some"}}}, path)
    with pytest.raises(IgclError, match="counterfactuals: igcl reads the store's language-model features of nodes"):
        Counterfactuals().check(Store(store), [from_checkpoint(path)])


def test_who_cannot_be_asked(contestants):
    usual, graphs_only = read_protocols(["counterfactuals"])[0], Counterfactuals(kinds=["place", "finding"])
    assert usual == Counterfactuals() == Counterfactuals(kinds=["side"])
    graph, _, words = contestants
    assert usual.why_not(graph) == usual.why_not(words) == graphs_only.why_not(graph) == ""
    assert graphs_only.why_not(words) == "reads words, and place, finding edit graphs only; ask for side"
    assert Counterfactuals(kinds=["sides"]).why_not(words) == "", "an unknown kind is refused, not left out"
    assert usual.why_not(Contestant("simclr")) == "reads no reports to tell from edited ones"


def test_hard_negatives_of_another_seed_are_those_of_phantoms(store, contestants, tmp_path):
    assert (HardNegatives().phantoms_seed, HardNegatives(seed=1).phantoms_seed) == (0, 1)
    with pytest.raises(
        IgclError, match="hard_negatives: seed is 1, not that of .*tested: only phantoms .*; leave it out"
    ):
        HardNegatives(seed=1).check(Store(store), contestants)
    prepare_phantoms(tmp_path / "hard", 8, 64, variant="hard_negatives", seed=1)
    HardNegatives(seed=1).check(Store(tmp_path / "hard"), contestants)
