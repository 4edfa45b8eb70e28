import pytest

from igcl_lightning.errors import IgclError
from igcl_lightning.reports.sections import HEADERS, choose_sections, choose_text, read_headers, split_sections

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


@pytest.mark.parametrize(
    "text",
    [
        "{History} Edema {FINDINGS} Clear. {IMPRESSION} Clear.",
        "[History: Edema] [Findings: Clear.] [Impression: Clear.]",
    ],
)
def test_headers_in_brackets_may_follow_each_other_on_a_line(text):
    assert "Edema" not in choose_text(text)
    assert choose_text(text).count("Clear.") == 2


@pytest.mark.parametrize("choice", ["both", "findings", "impression"])
def test_findings_and_impression_under_one_header_are_both(choice):
    assert choose_text("INDICATION: Cough. FINDINGS AND IMPRESSION: Clear.", choice) == "Clear."


def test_lines_may_end_as_on_windows():
    assert list(split_sections("WET READ: Edema.\r\nFINAL REPORT\r\nFINDINGS: Clear.\r\n")) == ["wet read", "findings"]


def test_findings_come_first_and_a_missing_section_leaves_no_gap():
    assert choose_sections({"impression": " b ", "findings": "a"}) == "a\n\nb"
    assert choose_sections({"impression": "b", "findings": " "}) == "b"


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("INDICATION: Cough. Lungs are clear.", "Lungs are clear."),
        ("INDICATION: Rule out edema.", ""),
        ("INDICATION: Edema?\n\nCOMPARISON: None.\n\nLungs are clear.\n\nNo edema.", "Lungs are clear.\n\nNo edema."),
        ("Two views. Lungs are clear.\nINDICATION: Edema?", "Two views. Lungs are clear."),
        ("Clear lungs.\nADDENDUM: Small nodule.", "Clear lungs.\n\nSmall nodule."),
        ("WET READ: Edema.\nFINAL REPORT\nNo edema.", "No edema."),
        ("WET READ: Edema.", "Edema."),
    ],
)
def test_a_report_with_neither_is_what_belongs_to_no_other_section(text, chosen):
    assert choose_text(text, "findings") == chosen


@pytest.mark.parametrize(
    "text",
    [
        "[Indication] Edema? [Findings] Clear lungs.\n[IMPRESSION]\nNothing acute.",
        "**INDICATION:** Edema?\n**FINDINGS:** Clear lungs.\n**IMPRESSION:** Nothing acute.",
        "INDICATION\nEdema?\nFINDINGS\nClear lungs.\nIMPRESSION\nNothing acute.",
        "## Indication\nEdema?\n## Findings\nClear lungs.\n## Impression\nNothing acute.",
        "INDICATION Edema?\nFINDINGS Clear lungs.\nIMPRESSION Nothing acute.",
        "Indication - Edema?\nFindings - Clear lungs.\nImpression - Nothing acute.",
        "INDICATION: Edema FINDINGS: Clear lungs. IMPRESSION: Nothing acute.",
        "<b>INDICATION:</b> Edema?<br><b>FINDINGS:</b> Clear lungs.<br><b>IMPRESSION:</b> Nothing acute.",
        "INDICATION: Edema?\\nFINDINGS: Clear lungs.\\nIMPRESSION: Nothing acute.",
    ],
)
def test_headers_have_many_marks(text):
    assert choose_text(text) == "Clear lungs.\n\nNothing acute."


@pytest.mark.parametrize(
    "text",
    ["HISTORY: Edema?\nREPORT: Clear lungs.", "History\nEdema?\nResult\nClear lungs.", "RESULTS: Clear lungs."],
)
@pytest.mark.parametrize("choice", ["both", "findings", "impression"])
def test_a_report_or_result_is_both_findings_and_impression(text, choice):
    assert choose_text(text, choice) == "Clear lungs."


def test_an_addendum_is_part_of_every_choice():
    text = "FINDINGS: Clear.\nIMPRESSION: Normal.\nADDENDUM: Small nodule."
    assert choose_text(text, "impression") == "Normal.\n\nSmall nodule."


def test_a_file_adds_headers(tmp_path):
    file = tmp_path / "headers.tsv"
    file.write_text("# ours\nfindings\tAppearances|What we see\nindication\tAsked\n", encoding="utf-8")
    own = read_headers(file)

    text = "ASKED: Edema?\nWhat we  see: Clear lungs.\nIMPRESSION: Normal."
    assert choose_text(text, "findings", own) == "Clear lungs."
    assert choose_text(text, "findings") == ""


@pytest.mark.parametrize(
    "line", ["finding\tBefund", "findings", "findings\t", "findings\t|", "history\tSays", "a\tb\tc"]
)
def test_a_line_of_that_file_names_a_section_and_headers(tmp_path, line):
    file = tmp_path / "headers.tsv"
    file.write_text(f"impression\tSays\n{line}\n", encoding="utf-8")
    with pytest.raises(IgclError, match=r"--headers .*headers.tsv: .*line 2"):
        read_headers(file)


def test_a_file_of_headers_that_is_missing_empty_or_not_text_is_an_error(tmp_path):
    with pytest.raises(IgclError, match=r"--headers .*none.tsv: no such file"):
        read_headers(tmp_path / "none.tsv")
    (tmp_path / "empty.tsv").write_text("# nothing\n")
    with pytest.raises(IgclError, match=r"--headers .*empty.tsv: no headers in it"):
        read_headers(tmp_path / "empty.tsv")
    (tmp_path / "latin.tsv").write_bytes(b"findings\tR\xe9sum\xe9\n")
    with pytest.raises(IgclError, match=r"--headers .*latin.tsv: not UTF-8"):
        read_headers(tmp_path / "latin.tsv")


def test_one_section_without_the_other_is_empty():
    assert choose_text("IMPRESSION: Clear.", "findings") == ""
    assert choose_sections({"indication": "Cough."}) is None


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("No edema\nImpression\nNormal", "No edema\n\nNormal"),
        ("ASKED: Edema?\nIMPRESSION: Normal", "Normal"),
        ("CHEST\nHISTORY: Edema.\nClear lungs. No mass.", "CHEST\n\nClear lungs. No mass."),
        ("Chest is clear. \nHISTORY: Edema. Cough.", "Chest is clear."),
        ("Pt. info: Edema?\nReport text: Clear lungs.", "Clear lungs."),
        ("IND: EDEMA. COMP: NONE. FIND: CLEAR. IMPR: NORMAL.", "CLEAR.\n\nNORMAL."),
        ("Referring diagnosis: edema\nRadiological findings: clear\nDiagnostic impression: normal", "clear\n\nnormal"),
        ("Indication: edema Findings: clear lungs Impression: normal", "clear lungs\n\nnormal"),
    ],
)
def test_the_body_of_a_report(text, chosen):
    assert choose_text(text) == chosen
