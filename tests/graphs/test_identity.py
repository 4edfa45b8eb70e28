import pytest

from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.data.store import graph_columns
from igcl_lightning.graphs.identity import graph_identity, graph_key, joined_identity, stated_facts
from igcl_lightning.graphs.parser import SpacyReportParser
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph, join_graphs, stable_hash


@pytest.fixture(scope="module")
def parser():
    return SpacyReportParser()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Small left pleural effusion. No pneumothorax.", "No pneumothorax. Small left pleural effusion."),
        ("No effusion or edema.", "No edema or effusion."),
        ("Consolidation in the LLL.", "Consolidation in the left lower lobe."),
        ("Left lower lobe consolidation.", "Consolidation of the left lower lobe."),
        ("The heart is enlarged.", "Enlarged heart."),
        ("Bibasilar atelectasis.", "Atelectasis in both bases."),
        ("The effusion is unchanged.", "Stable effusion."),
        ("Slight edema.", "Mild oedema."),
        ("Mild edema. Mild edema.", "Mild edema."),
        ("EDEMA.", "edema"),
        ("Cardiomegally.", "Cardiomegaly."),
        ("No evidence of pneumothorax.", "Pneumothorax is not seen."),
        ("The heart is enlarged.", "Cardiomegaly."),
        ("Mild cardiac enlargement.", "Mild cardiomegaly."),
        ("The heart is not enlarged.", "No cardiomegaly."),
        ("Heart size is normal.", "The heart is normal in size."),
        ("Bilateral effusions.", "Left and right effusions."),
        ("Bilateral effusions.", "Effusions on both sides."),
        ("Pulmonary edema.", "Edema of the lungs."),
        ("Left pleural effusion.", "Pleural effusion on the left."),
        ("No consolidation or effusion.", "LUNGS: No consolidation or effusion"),
        ("Bibasilar opacities.", "LUNGS: Bibasilar opacities"),
        ("Degenerative changes, no dislocation.", "BONES: Degenerative changes, no dislocation"),
        ("Prior sternotomy.", "BONES: Prior sternotomy"),
        ("No acute pulmonary findings.", "HEART: No acute pulmonary findings"),
        ("No nodule.", "No lung nodule."),
        ("Bibasilar atelectasis.", "Atelectasis of both lung bases."),
        ("Pneumonia.", "LUNGS: Pneumonia"),
        ("On the right there is a small pneumothorax.", "PLEURA: On the right there is a small pneumothorax"),
        ("No edema or effusion.", "LUNGS AND PLEURA: No edema or effusion"),
        ("No fracture.", "BONES: No fracture"),
        ("Left effusion.", "Effusion in the left pleural space."),
        ("The aorta is calcified.", "Calcification of the aorta."),
        ("The mediastinum is wide.", "Widening of the mediastinum."),
        ("The effusion has increased.", "Increase in the effusion."),
        ("Sternal fracture.", "Fracture of the sternum."),
    ],
)
def test_the_same_meaning_has_the_same_key_and_facts(parser, one, other):
    first, second = parser.parse(one), parser.parse(other)
    assert first.text != second.text
    assert graph_key(first) == graph_key(second) is not None
    assert set(stated_facts(first)) == set(stated_facts(second))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Left pleural effusion and right lung opacity.", "Right pleural effusion and left lung opacity."),
        # The same words and the same pairs of words: only a modifier's modifier, so to speak, tells them apart.
        (
            "Opacity in the right upper lobe. Nodule in the left lower lobe.",
            "Opacity in the left lower lobe. Nodule in the right upper lobe.",
        ),
        (
            "Small left pleural effusion. Large right pleural effusion.",
            "Large left pleural effusion. Small right pleural effusion.",
        ),
    ],
)
def test_the_same_words_at_other_places_have_another_key_and_other_facts(parser, one, other):
    first, second = parser.parse(one), parser.parse(other)
    assert sorted(first.text.lower().split()) == sorted(second.text.lower().split())
    assert graph_key(first) != graph_key(second)
    assert set(stated_facts(first)) != set(stated_facts(second))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Edema.", "No edema."),
        ("Edema.", "Possible edema."),
        ("Probable edema.", "Edema is unlikely."),
        ("Possible pneumonia.", "Probable pneumonia."),
        ("A 2 cm nodule.", "A 3 cm nodule."),
        ("One nodule.", "Two nodules."),
        ("Central line.", "Dialysis catheter."),
        ("Nasogastric tube.", "Feeding tube."),
        ("Fluid in the minor fissure.", "Fluid in the major fissure."),
        ("Pulmonary arterial hypertension.", "Pulmonary venous hypertension."),
        ("Pneumonia.", "Aspiration pneumonia."),
        ("Pericardial effusion.", "Pleural effusion."),
        ("Cardiomegaly.", "Enlarged cardiac silhouette."),
        ("Large right and small left effusions.", "Small right and large left effusions."),
        ("Small effusion.", "Effusion."),
        ("Opacity likely represents edema.", "Opacity likely represents pneumonia."),
        ("The opacity is improved.", "The opacity is worsened."),
        ("LUNGS: Nodule", "PLEURA: Nodule"),
        ("Lesion.", "BONES: Lesion"),
        ("Degenerative changes.", "Degenerative changes of the shoulders."),
        ("Bilateral pneumonia.", "Pneumonia."),
        ("No acute abnormality.", "LUNGS: No acute abnormality"),
        ("No thickening.", "PLEURA: No thickening"),
        ("MEDIASTINUM: Anterior mass", "LUNGS: Anterior mass"),
    ],
)
def test_another_meaning_has_another_key(parser, one, other):
    assert graph_key(parser.parse(one)) != graph_key(parser.parse(other))


@pytest.mark.parametrize(
    "graph", [ReportGraph(""), ReportGraph("no entities"), ReportGraph("lung", (Entity("lung", "ANAT-DP", 0, 0),))]
)
def test_a_graph_that_states_nothing_has_no_key_and_no_facts(graph):
    assert graph_key(graph) is None
    assert list(stated_facts(graph)) == graph_identity(graph)[1] == []


def test_a_radgraph_graph_has_the_key_of_the_parser_s(parser):
    words = "small left pleural effusion"
    entities = (
        Entity("small", "OBS-DP", 0, 0),
        Entity("left pleural", "ANAT-DP", 1, 2),
        Entity("effusion", "OBS-DP", 3, 3),
    )
    graph = ReportGraph(words, entities, (Relation(0, "modify", 2), Relation(2, "located_at", 1)))
    assert graph_key(graph) == graph_key(parser.parse(words))


def test_facts_are_hashed_once_each_in_order(parser):
    for text in ("Small left effusion. No edema.", "Left effusion. No edema. No edema.", "Clear lungs."):
        graph = parser.parse(text)
        key, facts = graph_identity(graph)
        assert key == graph_key(graph)
        assert facts == sorted({stable_hash(fact) for fact in stated_facts(graph)})


def test_hard_negatives_have_different_keys():
    pairs = [
        [phantom_study(2 * pair + twin, size=64, variant="hard_negatives") for twin in (0, 1)] for pair in range(60)
    ]
    keys = [
        (graph_key(one.graph), graph_key(other.graph))
        for one, other in pairs
        if one.graph.entities and other.graph.entities
    ]
    assert len(keys) > 50
    assert all(one != other for one, other in keys)


REPORT = """The heart is enlarged. Small left pleural effusion, right lung clear. No pneumothorax. The heart is large.
Opacity in the lower lobe, 3 cm, suggestive of pneumonia. XXXX compared to 2012."""


@pytest.mark.parametrize("text", [REPORT, "", "Kein Erguss. Das Herz ist nicht vergroessert.", "Series 7."])
def test_a_report_states_what_its_sentences_state(parser, text):
    sentences, whole = parser.sentences(text), parser.parse(text)
    assert join_graphs(sentences) == whole
    assert joined_identity(sentences) == joined_identity(sentences) == graph_identity(whole)
    assert graph_columns(*sentences) == graph_columns(whole)
