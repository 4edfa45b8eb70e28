"""Tiny invented data sets in the layouts of the real ones, for tests of readers and of `igcl prepare`."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

CHEXPERT_LABELS = (
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
)
NIH_LABELS = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax"),
    *("Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia"),
)
CLASSES = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""Classes of the 5x200 sets."""

MIMIC_IMAGES = (
    # patient, study, image, split, view, meaning of the view
    (10000001, 50000002, "b", "train", "LATERAL", "lateral"),
    (10000001, 50000002, "a", "train", "PA", "postero-anterior"),
    (10000001, 50000001, "c", "train", "", "antero-posterior"),
    (11000001, 50000003, "d", "validate", "LL", "left lateral"),
    (12000001, 50000004, "e", "test", "AP", "antero-posterior"),
    (12000001, 50000005, "f", "test", "", ""),
)
MIMIC_LABELS = {
    50000001: {"No Finding": 1.0},
    50000002: {"Edema": -1.0, "Cardiomegaly": -1.0, "Fracture": 0.0, "Pleural Effusion": 1.0},
    50000003: {"Pneumonia": 1.0},
    50000004: {"Lung Opacity": 0.0},
}
MIMIC_REPORTS = {
    50000001: "FINDINGS: The lungs are clear.\n\nIMPRESSION: Normal chest.",
    50000002: "INDICATION: ___ with dyspnea.\n\nFINDINGS: Small left pleural effusion. Possible edema.",
    50000003: "Pneumonia in the right lower lobe.",
    50000004: "IMPRESSION: No opacity.",
}


def write_image(path: Path, seed: int = 0, height: int = 40, width: int = 32) -> Path:
    """Write noise as a grey image in the format of the suffix, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def dicom_id(letter: str) -> str:
    """Return an image id as MIMIC-CXR has them: five groups of eight hexadecimal digits."""
    return "-".join([letter * 8] * 5)


def mimic_cxr_tree(root: Path, gzipped: bool = True) -> Path:
    """Write a MIMIC-CXR-JPG of six images, five studies and three patients, the reports beside the images.

    The report of the study 50000005 is missing, and so are its labels.
    """
    suffix = ".csv.gz" if gzipped else ".csv"
    for seed, (patient, study, letter, *_) in enumerate(MIMIC_IMAGES):
        folder = root / "files" / f"p{str(patient)[:2]}" / f"p{patient}"
        write_image(folder / f"s{study}" / f"{dicom_id(letter)}.jpg", seed)
        if study in MIMIC_REPORTS:
            (folder / f"s{study}.txt").write_text(MIMIC_REPORTS[study])
    split = pd.DataFrame(
        [(dicom_id(letter), study, patient, split) for patient, study, letter, split, *_ in MIMIC_IMAGES],
        columns=["dicom_id", "study_id", "subject_id", "split"],
    )
    split.to_csv(root / f"mimic-cxr-2.0.0-split{suffix}", index=False)
    metadata = pd.DataFrame(
        [
            (
                dicom_id(letter),
                patient,
                study,
                "CHEST",
                view,
                40,
                32,
                21800506 + number,
                213014.5,
                "CHEST",
                meaning,
                "Erect",
            )
            for number, (patient, study, letter, _, view, meaning) in enumerate(MIMIC_IMAGES)
        ],
        columns=[
            "dicom_id",
            "subject_id",
            "study_id",
            "PerformedProcedureStepDescription",
            "ViewPosition",
            "Rows",
            "Columns",
            "StudyDate",
            "StudyTime",
            "ProcedureCodeSequence_CodeMeaning",
            "ViewCodeSequence_CodeMeaning",
            "PatientOrientationCodeSequence_CodeMeaning",
        ],
    )
    metadata.iloc[::-1].to_csv(root / f"mimic-cxr-2.0.0-metadata{suffix}", index=False)
    patient_of = {study: patient for patient, study, *_ in MIMIC_IMAGES}
    for name in ("chexpert", "negbio"):
        labels = pd.DataFrame(
            [{"subject_id": patient_of[study], "study_id": study, **values} for study, values in MIMIC_LABELS.items()],
            columns=["subject_id", "study_id", *sorted(CHEXPERT_LABELS)],
        )
        labels.to_csv(root / f"mimic-cxr-2.0.0-{name}{suffix}", index=False)
    return root


def mimic_sections(path: Path) -> Path:
    """Write the reports of `mimic_cxr_tree` as the table of sections that MIMIC-CXR's own script makes."""
    pd.DataFrame(
        [
            ("s50000001", "Normal chest.", "The lungs are clear.", "Normal chest.", ""),
            ("s50000002", "", "Small left pleural effusion.\nPossible edema.", "", "None."),
            ("s50000003", "", "", "Pneumonia in the right lower lobe.", ""),
            ("s59999999", "Of another patient.", "", "", ""),
        ],
        columns=["study", "impression", "findings", "last_paragraph", "comparison"],
    ).to_csv(path, index=False)
    return path


CHEXPERT_TRAIN = (
    # study and image, sex, age, side, projection, labels
    ("patient00001/study1/view1_frontal", "Female", 68, "Frontal", "AP", {"No Finding": 1.0, "Support Devices": 1.0}),
    ("patient00002/study2/view1_frontal", "Male", 87, "Frontal", "AP", {"Edema": -1.0, "Cardiomegaly": -1.0}),
    ("patient00002/study1/view1_frontal", "Male", 87, "Frontal", "PA", {"Fracture": 0.0, "Pleural Effusion": 1.0}),
    ("patient00002/study1/view2_lateral", "Male", 87, "Lateral", "", {"Fracture": 0.0, "Pleural Effusion": 1.0}),
    ("patient00003/study1/view1_frontal", "Unknown", 0, "Frontal", "LL", {"Atelectasis": -1.0}),
)
CHEXPERT_VALID = (
    ("patient90001/study1/view1_frontal", "Male", 73, "Frontal", "AP", dict.fromkeys(CHEXPERT_LABELS, 0.0)),
    (
        "patient90002/study1/view1_frontal",
        "Male",
        70,
        "Frontal",
        "PA",
        {**dict.fromkeys(CHEXPERT_LABELS, 0.0), "Edema": 1.0},
    ),
)
CHEXPERT_TEST = {
    "patient91011/study1": ("Lung Opacity", "Support Devices"),
    "patient91012/study1": ("Lung Lesion",),
    "patient91013/study1": ("Cardiomegaly",),
}
CHEXPERT_TEST_IMAGES = (
    "patient91011/study1/view1_frontal",
    "patient91012/study1/view1_frontal",
    "patient91012/study1/view2_lateral",
    "patient91013/study1/view1_frontal",
)


def chexpert_tree(root: Path, name: str = "CheXpert-v1.0-small") -> Path:
    """Write a CheXpert of seven images, six studies and five patients; `root` is the folder with the tables."""
    for split, rows in (("train", CHEXPERT_TRAIN), ("valid", CHEXPERT_VALID)):
        table = [
            {
                "Path": f"{name}/{split}/{image}.jpg",
                "Sex": sex,
                "Age": age,
                "Frontal/Lateral": side,
                "AP/PA": projection,
                **labels,
            }
            for image, sex, age, side, projection, labels in rows
        ]
        for seed, (image, *_) in enumerate(rows):
            write_image(root / split / f"{image}.jpg", seed)
        columns = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_LABELS]
        pd.DataFrame(table, columns=columns).to_csv(root / f"{split}.csv", index=False)
    return root


def one_class_labels(number: int) -> dict[str, float | str]:
    """Return the labels of a study: every third is of one class, others have a second finding or an uncertain one."""
    name = CLASSES[number // 3 % 5]
    return {
        name: 1.0 if number % 3 < 2 else -1.0,
        "No Finding": 1.0 if number % 2 else "",
        "Fracture": (0.0, -1.0, 0.0)[number % 3],
    }


def mimic_classes_tree(root: Path) -> Path:
    """Write a MIMIC-CXR-JPG of 75 studies of one patient each, 25 of them of one of the five classes of 5x200.

    The last five of these have lateral images only. A report states the class, in one of three severities.
    """
    split, metadata, labels = [], [], []
    for number in range(75):
        patient, study, image = 10000000 + number, 50000000 + number, f"{number:08x}"
        folder = root / f"files/p10/p{patient}"
        write_image(folder / f"s{study}/{image}.jpg", number, 16, 16)
        severity = ("Mild", "Moderate", "Severe")[number // 15 % 3]
        (folder / f"s{study}.txt").write_text(f"{severity} {CLASSES[number // 3 % 5].lower()}.")
        split.append((image, study, patient, "train" if number % 10 else "validate"))
        metadata.append((image, "LATERAL" if number >= 60 else ("PA", "AP")[number % 2]))
        labels.append({"subject_id": patient, "study_id": study, **one_class_labels(number)})
    names = ["dicom_id", "study_id", "subject_id", "split"]
    pd.DataFrame(split, columns=names).to_csv(root / "mimic-cxr-2.0.0-split.csv", index=False)
    views = pd.DataFrame(metadata, columns=["dicom_id", "ViewPosition"])
    views.to_csv(root / "mimic-cxr-2.0.0-metadata.csv", index=False)
    columns = ["subject_id", "study_id", *sorted(CHEXPERT_LABELS)]
    pd.DataFrame(labels, columns=columns).to_csv(root / "mimic-cxr-2.0.0-chexpert.csv", index=False)
    return root


def chexpert_classes_tree(root: Path) -> Path:
    """Write a CheXpert of the images and labels of `mimic_classes_tree`, all frontal."""
    table = []
    for number in range(75):
        image = f"train/patient{number:05d}/study1/view1_frontal.jpg"
        write_image(root / image, number, 16, 16)
        about = {"Path": f"{root.name}/{image}", "Sex": "Male", "Age": 60, "Frontal/Lateral": "Frontal", "AP/PA": "AP"}
        table.append({**about, **one_class_labels(number)})
    columns = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_LABELS]
    pd.DataFrame(table, columns=columns).to_csv(root / "train.csv", index=False)
    return root


def nih_tree(root: Path) -> Path:
    """Write a ChestX-ray14 of two training and 14 test images, each of the latter with one finding of its own."""
    rows = [("No Finding", "train_val_list.txt")] * 2 + [(name, "test_list.txt") for name in NIH_LABELS]
    names = [f"{patient:08}_000.png" for patient in range(len(rows))]
    for patient, name in enumerate(names):
        write_image(root / "images_001/images" / name, patient, 32, 32)
    about = {"Image Index": names, "Finding Labels": [label for label, _ in rows], "Patient ID": range(len(rows))}
    pd.DataFrame({**about, "View Position": "PA"}).to_csv(root / "Data_Entry_2017_v2020.csv", index=False)
    for listed in ("train_val_list.txt", "test_list.txt"):
        own = [name for name, (_, each) in zip(names, rows, strict=True) if each == listed]
        (root / listed).write_text("\n".join(own) + "\n")
    return root


def chexpert_test_tree(root: Path, table: str = "groundtruth.csv") -> Path:
    """Write a test set of four images and three studies, with a table by `Study` or, as CheXlocalize's, by `Path`."""
    for seed, image in enumerate(CHEXPERT_TEST_IMAGES):
        write_image(root / "test" / f"{image}.jpg", seed + 100)
    rows = {
        study: {label: int(label in positives) for label in CHEXPERT_LABELS}
        for study, positives in CHEXPERT_TEST.items()
    }
    if table == "groundtruth.csv":
        frame = pd.DataFrame([{"Study": f"CheXpert-v1.0/test/{study}", **labels} for study, labels in rows.items()])
    else:
        named = [(f"test/{image}.jpg", rows[image.rpartition("/")[0]]) for image in CHEXPERT_TEST_IMAGES]
        frame = pd.DataFrame([{"Path": path, **labels} for path, labels in named])
    frame.to_csv(root / table, index=False)
    return root


PLUS_COLUMNS = (
    "path_to_image",
    "path_to_dcm",
    "frontal_lateral",
    "ap_pa",
    "deid_patient_id",
    "patient_report_date_order",
    "report",
    "section_narrative",
    "section_clinical_history",
    "section_history",
    "section_comparison",
    "section_technique",
    "section_procedure_comments",
    "section_findings",
    "section_impression",
    "section_end_of_impression",
    "section_summary",
    "section_accession_number",
    "age",
    "sex",
    "race",
    "ethnicity",
    "interpreter_needed",
    "insurance_type",
    "recent_bmi",
    "deceased",
    "split",
)
PLUS_ROWS = (
    # image, side, projection, patient, order, findings, impression, age, sex
    ("train/patient00002/study1/view2_lateral", "Lateral", "", "p2", 1, "Clear lungs, again.", "Normal.", 60, "Male"),
    ("train/patient00002/study1/view1_frontal", "Frontal", "PA", "p2", 1, "Clear lungs.", "Normal.", 60, "Male"),
    (
        "train/patient00001/study2/view1_frontal",
        "Frontal",
        "AP",
        "p1",
        2,
        "",
        "1. Small effusion.\n2. No edema.",
        0,
        "Unknown",
    ),
    ("train/patient00003/study1/view1_frontal", "Frontal", "RL", "p3", 1, "", "", 50, "Female"),
    ("valid/patient90001/study1/view1_frontal", "Frontal", "AP", "p9", 1, "Edema.", "Edema is seen.", 73, "Male"),
)
PLUS_LABELS = {
    "train/patient00002/study1/view2_lateral": {"Pneumonia": 1.0},
    "train/patient00002/study1/view1_frontal": {"No Finding": 1.0},
    "train/patient00001/study2/view1_frontal": {"Pleural Effusion": 1.0, "Edema": 0.0, "Pneumonia": -1.0},
    "train/patient00003/study1/view1_frontal": {"No Finding": 1.0},
    "valid/patient90001/study1/view1_frontal": {"Edema": 1.0},
}


def chexpert_plus_tree(root: Path, images: str = "PNG", suffix: str = ".png") -> Path:
    """Write a CheXpert Plus of five images, four studies and four patients.

    The reports of the two images of patient00002/study1 differ, and so do their labels; that of patient00003 has no
    sections.
    """
    table = [
        {
            "path_to_image": f"{image}.jpg",
            "path_to_dcm": f"{image.partition('/')[2]}.dcm",
            "frontal_lateral": side,
            "ap_pa": projection,
            "deid_patient_id": patient,
            "patient_report_date_order": order,
            "report": f"CHEST: {findings} {impression} End.",
            "section_clinical_history": "Cough.",
            "section_findings": findings,
            "section_impression": impression,
            "age": age,
            "sex": sex,
            "race": "Unknown",
            "split": image.partition("/")[0],
        }
        for image, side, projection, patient, order, findings, impression, age, sex in PLUS_ROWS
    ]
    root.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(table, columns=PLUS_COLUMNS).to_csv(root / "df_chexpert_plus_240401.csv", index=False)
    if suffix != ".dcm":
        for seed, (image, *_) in enumerate(PLUS_ROWS):
            write_image(root / images / f"{image}{suffix}", seed)
    (root / "chexbert_labels").mkdir(exist_ok=True)
    for name in ("impression", "findings", "report"):
        lines = [
            json.dumps(
                {"path_to_image": f"{image}.jpg", **{label: values.get(label) for label in CHEXPERT_LABELS[::-1]}}
            )
            for image, values in PLUS_LABELS.items()
        ]
        (root / "chexbert_labels" / f"{name}_fixed.json").write_text("\n".join(lines[::-1]) + "\n")
    return root
