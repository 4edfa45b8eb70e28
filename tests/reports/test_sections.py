import pytest

from igcl_lightning.reports.sections import HEADERS, choose_sections, choose_text, split_sections

HOSPITAL = """\
                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ with made-up cough. Pneumonia?

 COMPARISON:  None.

 FINDINGS:

 LUNGS: Clear.
 HEART: Not enlarged.

 IMPRESSION:

 Nothing acute.
 RECOMMENDATION(S):  None.
"""


def test_headers_at_the_start_of_lines():
    assert split_sections(HOSPITAL) == {
        "examination": "CHEST (PA AND LAT)",
        "indication": "___ with made-up cough. Pneumonia?",
        "comparison": "None.",
        "findings": "LUNGS: Clear.\n HEART: Not enlarged.",
        "impression": "Nothing acute.",
        "recommendation": "None.",
    }


def test_headers_after_a_sentence_and_in_mixed_case():
    text = "Indication: Fever? Findings: Lungs clear. Impression : Normal.CONCLUSION: Fine."
    assert split_sections(text) == {
        "indication": "Fever?",
        "findings": "Lungs clear.",
        "impression": "Normal.\n\nFine.",
    }


def test_a_wet_read_ends_at_the_final_report():
    text = "WET READ: Edema.\n______\n FINAL REPORT\n CHEST ON ___\n FINDINGS: No edema."
    assert split_sections(text) == {
        "wet read": "Edema.\n______",
        "final report": "CHEST ON ___",
        "findings": "No edema.",
    }


@pytest.mark.parametrize(
    "text",
    [
        "No header at all.",
        "The findings: none.",
        "in comparison: none\nfindings: lower case",
        "Clear, see IMPRESSION: below",
        "Findings are as follows",
        "OTHER: Clear.",
    ],
)
def test_a_text_without_headers_is_whole(text):
    assert split_sections(text) == {"": text}
    assert choose_text(text) == text


def test_what_no_header_precedes_has_no_name():
    assert split_sections("Two views.\nFINDINGS: Clear.") == {"": "Two views.", "findings": "Clear."}


def test_a_section_of_several_parts_is_joined():
    assert split_sections("FINDINGS: One.\nADDENDUM: Two.\nFINDINGS: Three.")["findings"] == "One.\n\nThree."


@pytest.mark.parametrize("text", ["", "  \n", "FINDINGS:", "FINDINGS:\n IMPRESSION: \n"])
def test_sections_without_text_are_left_out(text):
    assert split_sections(text) == {}


def test_every_header_opens_its_section():
    for name, headers in HEADERS.items():
        for header in headers:
            assert split_sections(f"{header.upper()}: text") == {name: "text"}
            assert split_sections(f"{header.capitalize()}: text") == {name: "text"}


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ("both", "LUNGS: Clear.\n HEART: Not enlarged.\n\nNothing acute."),
        ("findings", "LUNGS: Clear.\n HEART: Not enlarged."),
        ("impression", "Nothing acute."),
    ],
)
def test_chosen_sections(choice, text):
    assert choose_text(HOSPITAL, choice) == text


@pytest.mark.parametrize("choice", ["both", "findings", "impression"])
def test_findings_and_impression_under_one_header_are_both(choice):
    assert choose_text("INDICATION: Cough. FINDINGS AND IMPRESSION: Clear.", choice) == "Clear."


def test_lines_may_end_as_on_windows():
    assert list(split_sections("WET READ: Edema.\r\nFINAL REPORT\r\nFINDINGS: Clear.\r\n")) == ["wet read", "findings"]


def test_findings_come_first_and_a_missing_section_leaves_no_gap():
    assert choose_sections({"impression": " b ", "findings": "a"}) == "a\n\nb"
    assert choose_sections({"impression": "b", "findings": " "}) == "b"


def test_a_report_with_neither_is_whole_and_one_with_the_other_is_empty():
    text = "INDICATION: Cough. Lungs are clear."
    assert choose_text(text, "findings") == text
    assert choose_text("IMPRESSION: Clear.", "findings") == ""
    assert choose_sections({"indication": "Cough."}) is None
