import json
import os
from pathlib import Path

import pytest

from igcl_lightning.graphs.labels import (
    SCHEMES,
    abnormal_observations,
    binary_labels,
    finding_rules,
    label_table,
    labels_from_graph,
)
from igcl_lightning.graphs.parser import SpacyReportParser
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph

PARSER = SpacyReportParser()
CHEXPERT = [
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
]


def labels(text, scheme="chexpert"):
    """Return the labels that a text mentions."""
    return {name: value for name, value in labels_from_graph(PARSER.parse(text), scheme).items() if value is not None}


def test_the_labels_are_those_of_chexpert_in_the_order_of_its_table():
    assert list(labels_from_graph(PARSER.parse("Edema."))) == CHEXPERT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mild edema.", {"Edema": 1.0}),
        ("No edema.", {"Edema": 0.0, "No Finding": 1.0}),
        ("Possible edema.", {"Edema": -1.0}),
        ("Edema is unlikely.", {"Edema": 0.0, "No Finding": 1.0}),
        ("No edema. Possible edema. Edema.", {"Edema": 1.0}),
        ("No edema. Possible edema.", {"Edema": -1.0}),
        ("The heart is enlarged.", {"Cardiomegaly": 1.0}),
        ("Enlargement of the cardiac silhouette.", {"Cardiomegaly": 1.0}),
        ("Heart size is normal.", {"Cardiomegaly": 0.0, "No Finding": 1.0}),
        ("Edema no, effusion yes, fracture no", {"Edema": 0.0, "Pleural Effusion": 1.0, "Fracture": 0.0}),
        ("Edema? - Yes", {"Edema": 1.0}),
        ("Image no. 3 shows edema.", {"Edema": 1.0}),
        ("An effusion is present on the left and absent on the right.", {"Pleural Effusion": 1.0}),
        ("Effusion is present, edema is absent.", {"Pleural Effusion": 1.0, "Edema": 0.0}),
        ("Edema has not developed.", {"Edema": 0.0, "No Finding": 1.0}),
        ("Edema on admission.", {"Edema": 1.0}),
        ("No collapse.", {"Atelectasis": 0.0, "No Finding": 1.0}),
        ("Collapse of the vertebral body.", {}),
        ("Rib fx: Y", {"Fracture": 1.0}),
        ("The left atrium is enlarged.", {}),
        ("Pleural effusion.", {"Pleural Effusion": 1.0}),
        ("Fluid in the left pleural space.", {"Pleural Effusion": 1.0}),
        ("Pericardial effusion.", {}),
        ("Collapse of the left lower lobe.", {"Atelectasis": 1.0}),
        ("Vertebral collapse.", {}),
        ("Soft tissue edema.", {}),
        ("Nodule in the right upper lobe.", {"Lung Lesion": 1.0}),
        ("Calcified thyroid mass.", {}),
        ("Pleural thickening.", {"Pleural Other": 1.0}),
        ("Healed rib fracture.", {"Fracture": 1.0}),
        ("Right PICC.", {"Support Devices": 1.0, "No Finding": 1.0}),
        ("Widened mediastinum.", {"Enlarged Cardiomediastinum": 1.0}),
        ("Hazy opacity in the left lung.", {"Lung Opacity": 1.0}),
        ("Diffuse opacities.", {"Lung Opacity": 1.0}),
        ("Metallic opacity.", {}),
        ("Infectious process.", {"Pneumonia": 1.0}),
        ("Fluid at the right base.", {"Pleural Effusion": 1.0}),
        ("Retrocardiac collapse.", {"Atelectasis": 1.0}),
        ("Clear lungs.", {"No Finding": 1.0}),
        ("Pulmonary vascular markings are normal.", {"No Finding": 1.0}),
        ("The lungs are not clear.", {}),
        ("Heart is not normal in size.", {}),
        ("Airspace disease in the left lower lobe.", {"Lung Opacity": 1.0}),
        ("Status post lobectomy.", {"No Finding": 1.0}),
        ("Scoliosis.", {}),
        ("", {}),
        ("Comparison is made to the prior study.", {}),
    ],
)
def test_a_report_has_the_labels_that_it_states(text, expected):
    assert labels(text) == expected


def test_chest_x_ray14_tells_the_heart_from_its_silhouette_and_infiltrates_from_opacities():
    assert labels("Enlarged cardiac silhouette.", "nih") == {}
    assert labels("Enlarged heart. Right basilar infiltrate.", "nih") == {"Cardiomegaly": 1.0, "Infiltration": 1.0}
    assert labels("Subcutaneous emphysema. Hiatal hernia.", "nih") == {}


def test_doubt_counts_where_the_table_says_so():
    text = "Probable effusion. Probable pneumonia. Possible edema. Atelectasis versus scarring."
    binary = binary_labels(PARSER.parse(text))
    assert labels(text) == {"Pleural Effusion": -1.0, "Pneumonia": -1.0, "Edema": -1.0, "Atelectasis": -1.0}
    assert {name for name, value in binary.items() if value} == {"Pleural Effusion", "Atelectasis"}
    assert set(binary.values()) <= {0, 1}


def test_a_graph_of_radgraph_has_labels_too():
    entities = (Entity("right basilar", "ANAT-DP", 0, 1), Entity("atelectatic changes", "OBS-DP", 2, 3))
    graph = ReportGraph("right basilar atelectatic changes", entities, (Relation(1, "located_at", 0),))
    assert labels_from_graph(graph)["Atelectasis"] == 1.0


def test_words_of_abnormal_observations_leave_normal_states_and_devices_out():
    graph = PARSER.parse(
        "Clear lungs. Right PICC. Stable effusion. No edema. Possible nodule. Degenerative spine changes."
    )
    assert abnormal_observations(graph) == ["effusion", "changes"]
    assert abnormal_observations(graph, skeleton=False) == ["effusion"]


@pytest.mark.parametrize("derive", [labels_from_graph, binary_labels])
def test_an_unknown_scheme_gives_one_line(derive):
    with pytest.raises(ValueError, match=r"^scheme 'mimic', expected one of \('chexpert', 'nih'\)$"):
        derive(ReportGraph(""), "mimic")


def test_every_finding_of_a_label_has_a_rule():
    known = {rule.finding for rule in finding_rules()}
    assert all(label.findings <= known for scheme in SCHEMES for label in label_table()[scheme])


@pytest.mark.data
@pytest.mark.skipif("IGCL_DATA" not in os.environ, reason="IGCL_DATA does not name the data folder")
def test_the_reports_of_the_chexpert_labeler_get_its_labels():
    cases = json.loads((Path(os.environ["IGCL_DATA"]) / "radgraph/chexpert_labeler_cases.json").read_text())["cases"]
    for case in cases:
        assert labels_from_graph(PARSER.parse(case["text"])) == case["labels"]
