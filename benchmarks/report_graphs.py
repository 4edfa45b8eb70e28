"""Quality and speed of the report parser, measured on the Open-i collection and on phantom reports.

    IGCL_DATA=DIR python benchmarks/report_graphs.py [--out TABLE.md] [--errors DIR] [--quick]

Open-i's labels come from its coders' MeSH terms (`openi_gld_std14.csv`), its places and sides from the qualifiers of
these (`mesh_graphs.jsonl`). `--errors` writes a file a measure that names the reports on which parser and gold differ.
Intervals are 95 % bootstrap intervals over reports. Figures on phantoms are phantom figures.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import tempfile
import textwrap
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from igcl_lightning.data.sources.report_table import open_reports
from igcl_lightning.graphs.identity import graph_key
from igcl_lightning.graphs.labels import abnormal_observations, binary_labels, label_table, labels_from_graph
from igcl_lightning.graphs.lexicon import rows
from igcl_lightning.graphs.parser import SpacyReportParser
from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.graphs.statements import Statement, statements
from igcl_lightning.phantom.case import find_case
from igcl_lightning.phantom.patient import Stream
from igcl_lightning.phantom.report import write_report
from igcl_lightning.reports.parsing import parse_reports

FIVE = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion")
FLOOR_WORDS = {
    "Atelectasis": "atelecta",
    "Cardiomegaly": "cardiomegaly|enlarged heart|heart is enlarged|cardiac enlargement|enlarged cardiac",
    "Consolidation": "consolidat",
    "Edema": "edema",
    "Effusion": "effusion",
}
PUBLIC_FLOOR = {"Atelectasis": 0.908, "Cardiomegaly": 0.937, "Consolidation": 0.830, "Edema": 0.690, "Effusion": 0.879}
FLOOR_CUES = re.compile(r"\b(no|not|without|free of|negative for|resolved|absence of|clear of)\b", re.IGNORECASE)
ENTITY_WORDS = {
    "Atelectasis": "atelecta|collapse",
    "Cardiomegaly": "cardiomegaly|(heart|cardiac|size) .*(enlarged|large|enlargement|borderline)",
    "Consolidation": "consolidat",
    "Edema": "edema",
    "Effusion": "effusion|pleural fluid",
    "Infiltration": "infiltrat",
    "Mass": "^mass|mass$",
    "Nodule": "nodules?$",
    "Pneumonia": "pneumonia",
    "Pneumothorax": "pneumothora",
    "Emphysema": "emphysema",
    "Fibrosis": "fibro",
    "Pleural_Thickening": "pleural thickening",
    "Hernia": "^hernia",
}
"""What an entity that is present, alone or after the anatomy it is located at, must contain."""

RESAMPLES = 1000
MIMIC_REPORTS = 227_835
MIMIC_WORDS = 120
"""Words of findings and impression of a report, an assumption on the safe side: Open-i has 45."""


class Report(NamedTuple):
    """A report of Open-i: its id, text, gold labels by name (None without any), and coded terms (None without any)."""

    uid: str
    text: str
    gold: dict[str, int] | None
    terms: list[dict] | None
    normal: bool


def read_open_i(folder: Path) -> list[Report]:
    coded = {each["uid"]: each for each in _lines(folder / "mesh_graphs.jsonl")}
    reports = []
    for record in _lines(folder / "reports.jsonl"):
        text = "\n\n".join(filter(None, (record["findings"], record["impression"])))
        terms = coded.get(record["uid"], {}).get("expected")
        normal = record["mesh_major"] == ["normal"]
        reports.append(Report(record["uid"], text, record["gold14"], terms, normal))
    return reports


def _lines(path: Path) -> Iterator[dict]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


# Labels


def floor_labels(text: str) -> dict[str, int]:
    """Keyword, and no negation cue to its left in the sentence: the public floor."""
    found = dict.fromkeys(FIVE, 0)
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        for label, words in FLOOR_WORDS.items():
            for match in re.finditer(words, sentence, re.IGNORECASE):
                found[label] |= not FLOOR_CUES.search(sentence[: match.start()])
    return found


def entity_labels(graph: ReportGraph) -> dict[str, int]:
    """Say whether an entity with the label's word is present, or as sure as the label asks; without statements."""
    places = defaultdict(list)
    for relation in graph.relations:
        if relation.type == "located_at":
            places[relation.head].append(graph.entities[relation.tail].name)
    believed = {label.name: label.believed for label in label_table()["nih"]}
    return {
        label: int(
            any(
                (entity.label == "OBS-DP" or (entity.label == "OBS-U" and entity.hedge in believed[label]))
                and any(re.search(words, f"{place} {entity.name}".strip()) for place in ["", *places[index]])
                for index, entity in enumerate(graph.entities)
            )
        )
        for label, words in ENTITY_WORDS.items()
    }


def negspacy_labels(texts: Sequence[str]) -> list[dict[str, int]] | None:
    """Label with negspacy: the same words, its clinical cues and its scopes; None where it is not installed."""
    try:
        import negspacy.negation  # noqa: F401 - registers the component
        import spacy
        from negspacy.termsets import termset
    except ImportError:
        return None
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    ruler = nlp.add_pipe("entity_ruler")
    for label, words in FLOOR_WORDS.items():
        tokens = [word.split(" ") for word in words.split("|")]
        ruler.add_patterns(
            [{"label": label, "pattern": [{"LOWER": {"REGEX": f"^{token}"}} for token in each]} for each in tokens]
        )
    nlp.add_pipe("negex", config={"neg_termset": termset("en_clinical_sensitive").get_patterns()})
    found = []
    for document in nlp.pipe(texts):
        said = dict.fromkeys(FIVE, 0)
        for entity in document.ents:
            said[entity.label_] |= not entity._.negex
        found.append(said)
    return found


def label_counts(reports: Sequence[Report], predicted: Sequence[dict[str, int]], labels: Sequence[str]) -> np.ndarray:
    """Return true positives, false positives, false negatives by report and label, [N, L, 3]."""
    gold = np.array([[report.gold[label] for label in labels] for report in reports], dtype=bool)
    said = np.array([[each.get(label, 0) for label in labels] for each in predicted], dtype=bool)
    return np.stack([gold & said, ~gold & said, gold & ~said], axis=-1).astype(float)


def f1(counts: np.ndarray) -> np.ndarray:
    tp, fp, fn = np.moveaxis(counts, -1, 0)
    return 2 * tp / np.maximum(2 * tp + fp + fn, 1)


def interval(counts: np.ndarray, value: Callable[[np.ndarray], float], seed: int = 0) -> tuple[float, float, float]:
    """Return a value of summed counts [N, ...] and its 95 % bootstrap interval over the N reports."""
    rng = np.random.default_rng(seed)
    flat = counts.reshape(len(counts), -1)
    weights = rng.multinomial(len(flat), np.full(len(flat), 1 / len(flat)), size=RESAMPLES)
    sums = (weights @ flat).reshape(RESAMPLES, *counts.shape[1:])
    low, high = np.quantile([value(each) for each in sums], [0.025, 0.975])
    return value(counts.sum(0)), low, high


# Places and sides


@dataclass
class Coding:
    """`mesh_terms.tsv`."""

    heads: dict[str, set[str]] = field(default_factory=dict)
    implied: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    places: dict[str, list[tuple[set[str], set[str]]]] = field(default_factory=dict)
    whole: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Coding:
        coding = cls()
        text = Path(__file__).with_name("mesh_terms.tsv").read_text("utf-8")
        for _, (kind, term, words, further) in rows("mesh_terms", text, 4):
            if kind == "head":
                coding.heads[term] = set(words.split("|"))
                coding.implied[term] = set(filter(None, further.split("|")))
                continue
            wanted = [each.split("-") for each in words.split("|")]
            coding.places[term] = [(set(first.split("+")), set(without)) for first, *without in wanted]
            if further:
                coding.whole[term] = set(further.split("|"))
        return coding

    def of(self, words: Iterable[str]) -> set[str]:
        """Return the coded places and sides that words mean."""
        said = set(words)
        return {
            place for place, ways in self.places.items() if any(all_ <= said and not none & said for all_, none in ways)
        }

    def wider(self, places: set[str]) -> set[str]:
        """Return places with what they are part of."""
        more = places.union(*(self.whole.get(place, set()) for place in places))
        return more | {"bilateral"} if {"left", "right"} <= more else more

    def about(self, statement: Statement, head: str, kind: str) -> bool:
        if kind == "anatomy":
            return bool(self.heads[head] & statement.places)
        return bool(self.heads[head] & (statement.name | statement.modifiers))


def place_counts(report: Report, graph: ReportGraph, coding: Coding) -> tuple[np.ndarray, list[str]]:
    """Return of one report: places right, places said, coded places found, coded places; and what went wrong."""
    coded: dict[tuple[str, str], set[str]] = defaultdict(set)
    for term in report.terms:
        if term["head"] in coding.heads:
            coded[term["head"], term["kind"]] |= {
                place for place in (*term["anatomy"], *term["laterality"]) if place in coding.places
            }
    said = [each for each in statements(graph) if each.label in ("OBS-DP", "OBS-U")]
    counts, wrong = np.zeros(4), []
    for (head, kind), places in coded.items():
        found = coding.wider(
            set().union(
                *(
                    coding.of(each.places | each.modifiers | each.name)
                    for each in said
                    if coding.about(each, head, kind)
                )
            )
        )
        missing = places - found - coding.implied[head]
        counts[2:] += len(places - missing), len(places)
        wrong += [f"missing {place} of {head}" for place in sorted(missing)]
    for each in said:
        heads = [key for key, places in coded.items() if coding.about(each, *key) and places]
        if not heads:
            continue
        right = coding.wider(set().union(*(coded[key] | coding.implied[key[0]] for key in heads)))
        right |= {"left", "right"} if "bilateral" in right else set()
        spoken = coding.of(each.places | each.modifiers) - set().union(*(coding.implied[head] for head, _ in heads))
        bad = spoken - right
        counts[:2] += len(spoken - bad), len(spoken)
        wrong += [f"wrong {place} of {'/'.join(head for head, _ in heads)}" for place in sorted(bad)]
    return counts, wrong


# The report


class Table:
    """Lines of Markdown: a title, a header and rows."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def title(self, text: str, *columns: str) -> None:
        self.lines += ["", f"**{text}**", "", f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]

    def row(self, *cells: object) -> None:
        self.lines.append(f"| {' | '.join(map(str, cells))} |")

    def __str__(self) -> str:
        return "\n".join(self.lines).strip() + "\n"


def between(value: tuple[float, float, float]) -> str:
    return f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"


def measure_labels(table: Table, reports: Sequence[Report], graphs: Sequence[ReportGraph], errors: Errors) -> None:
    rated = [(report, graph) for report, graph in zip(reports, graphs, strict=True) if report.gold]
    gold = [report for report, _ in rated]
    said = [binary_labels(graph, "nih") for _, graph in rated]
    names = [label.name for label in label_table()["nih"]]
    counts = label_counts(gold, said, names)
    table.title(
        f"Labels of {len(gold)} reports, through labels_from_graph", "label", "positives", "precision", "recall", "F1"
    )
    for column, name in enumerate(names):
        tp, fp, fn = counts[:, column].sum(0)
        scores = (
            f"{tp / max(tp + fp, 1):.3f}",
            f"{tp / max(tp + fn, 1):.3f}",
            between(interval(counts[:, column], f1)),
        )
        table.row(name, int(tp + fn), *(scores if tp + fn else ("-", "-", "-")))
        for report, (_, wrong, missed) in zip(gold, counts[:, column], strict=True):
            errors.add(
                "labels", f"{name}\t{report.uid}\t{'wrong' * int(wrong)}{'missed' * int(missed)}", wrong + missed
            )
    table.row(
        "**micro**", int(counts[..., [0, 2]].sum()), "", "", between(interval(counts, lambda each: f1(each.sum(0))))
    )

    rivals = {
        "labels_from_graph": said,
        "entities alone": [entity_labels(graph) for _, graph in rated],
        "keyword and cue, run here": [floor_labels(report.text) for report in gold],
        "negspacy, same keywords": negspacy_labels([report.text for report in gold]),
    }
    table.title("F1 of five labels, and micro-averaged F1 of all", "by", *FIVE, "mean of five", "micro")
    for rival, labels in rivals.items():
        if labels is not None:
            each = label_counts(gold, labels, FIVE)
            mean = between(interval(each, lambda counts: float(np.mean(f1(counts)))))
            all_ = label_counts(gold, labels, names) if len(labels[0]) == len(names) else None
            micro = "-" if all_ is None else between(interval(all_, lambda counts: f1(counts.sum(0))))
            table.row(rival, *(f"{value:.3f}" for value in f1(each.sum(0))), mean, micro)
    table.row(
        "public floor",
        *(f"{PUBLIC_FLOOR[name]:.3f}" for name in FIVE),
        f"{np.mean(list(PUBLIC_FLOOR.values())):.3f}",
        "-",
    )


def measure_places(table: Table, reports: Sequence[Report], graphs: Sequence[ReportGraph], errors: Errors) -> None:
    coding = Coding.read()
    counts = []
    for report, graph in zip(reports, graphs, strict=True):
        if report.terms is not None:
            each, wrong = place_counts(report, graph, coding)
            counts.append(each)
            for line in wrong:
                errors.add("places", f"{report.uid}\t{line}")
    table.title("Places and sides of coded terms", "measure", "of", "value")
    stacked = np.array(counts)
    for name, right, all_ in (("precision", 0, 1), ("recall", 2, 3)):
        share = between(interval(stacked[:, [right, all_]], lambda each: float(each[0] / each[1])))
        table.row(name, int(stacked[:, all_].sum()), share)


def measure_normal(table: Table, reports: Sequence[Report], graphs: Sequence[ReportGraph], errors: Errors) -> None:
    normal = [(report, graph) for report, graph in zip(reports, graphs, strict=True) if report.normal]
    table.title(
        f"Of {len(normal)} reports coded normal, those without a definite abnormal observation", "counting", "share"
    )
    for name, skeleton in (("heart, lungs and everything but bones and joints", False), ("bones and joints too", True)):
        clean = np.array([[not abnormal_observations(graph, skeleton=skeleton)] for _, graph in normal], dtype=float)
        table.row(name, between(interval(clean, lambda each: float(each[0] / len(normal)))))
        for (report, graph), (kept,) in zip(normal, clean, strict=True):
            errors.add("normal", f"{report.uid}\t{abnormal_observations(graph)}", not kept and skeleton)


def measure_duplicates(table: Table, reports: Sequence[Report], graphs: Sequence[ReportGraph]) -> None:
    texts = Counter(report.text for report in reports if report.text)
    keys = Counter(key for graph in graphs if (key := graph_key(graph)) is not None)
    table.title("Duplicates", "reports that share their", "distinct", "share another's", "largest group")
    for name, groups in (("text", texts), ("key", keys)):
        shared = sum(count for count in groups.values() if count > 1)
        table.row(name, len(groups), f"{shared / len(reports):.1%}", max(groups.values()))


def measure_phantom(table: Table, count: int) -> None:
    parser = SpacyReportParser()
    table.title(f"Phantom reports ({count} scenes each)", "phrasing", "the same graph", "the same up to synonyms")
    for phrasing in ("known", "reworded", "held_back"):
        same = []
        for index in range(count):
            case = find_case(index)
            sections, graph = write_report(case.scene, case.rng(Stream.REPORT), phrasing=phrasing)
            if graph.text:
                read = parser.parse(" ".join(filter(None, (sections["findings"], sections["impression"]))))
                same.append((read == graph, graph_key(read) == graph_key(graph)))
        shares = np.array(same, dtype=float)
        table.row(phrasing, *(between(interval(shares[:, [column]], partial(ratio, len(same)))) for column in (0, 1)))


# Layouts


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a report, without its item numbers and those whose first word de-identification hides."""
    return [each for each in re.split(r"(?<=[.!?])\s+", text) if re.match(r"(?!XXXX)[A-Za-z]+\s", each)]


def bare(sentence: str) -> str:
    """Return a sentence without its full stop."""
    return sentence.rstrip(" .")


FIELDS = {  # what the sentence says or implies, as a re-laid report must not say more than the plain one
    r"heart|cardi": "HEART",
    r"mediastin|\baort": "MEDIASTINUM",
    r"lung|pulmonary|airspace|opacit|consolidat|atelecta|infiltrat|edema|congest|nodul|mass|pneumonia": "LUNGS",
    r"pleura|effusion|pneumothora": "PLEURA",
    r"\bribs?\b|\bbon|osseous|spin|thoracic|fracture": "BONES",
}


def field_of(sentence: str) -> str:
    """Return the template's field for a sentence ("LUNGS", "LUNGS AND PLEURA"), "GENERAL" for more than two places."""
    names = [name for words, name in FIELDS.items() if re.search(words, sentence, re.IGNORECASE)]
    return "GENERAL" if len(names) > 2 else " AND ".join(names) or "OTHER"


LAYOUTS: dict[str, Callable[[list[str]], str]] = {
    "wrapped at 80 columns": lambda said: textwrap.fill(" ".join(said), 80),
    "wrapped at 50 columns": lambda said: textwrap.fill(" ".join(said), 50),
    "one statement a line": "\n".join,
    "one statement a line, no full stops": lambda said: "\n".join(map(bare, said)),
    "bullets (-), no full stops": lambda said: "\n".join(f"- {bare(each)}" for each in said),
    "bullets (\u2022), glued, no full stops": lambda said: "\n".join(f"\u2022{bare(each)}" for each in said),
    "numbered (1. ...)": lambda said: "\n".join(f"{n}. {each}" for n, each in enumerate(said, 1)),
    "numbered, glued (1....), no full stops": lambda said: "\n".join(
        f"{n}.{bare(each)}" for n, each in enumerate(said, 1)
    ),
    "numbered on one line (1) ...), no full stops": lambda said: " ".join(
        f"{n}) {bare(each)}" for n, each in enumerate(said, 1)
    ),
    "no full stops, one line": lambda said: " ".join(map(bare, said)),
    "divided by bars, no full stops": lambda said: " | ".join(map(bare, said)),
    "HTML paragraphs": lambda said: "".join(f"<p>{html.escape(bare(each))}</p>" for each in said),
    "HTML lines (<br>)": lambda said: "<br>".join(html.escape(bare(each)) for each in said),
    "escaped line breaks, no full stops": lambda said: "\\n".join(map(bare, said)),
    "template (HEART: ...), no full stops": lambda said: "\n".join(f"{field_of(each)}: {bare(each)}" for each in said),
}
"""Reports re-laid by rule, from their sentences."""


def measure_layouts(table: Table, reports: Sequence[str], whose: str, errors: Errors) -> None:
    """Compare the graphs of re-laid reports with those of the plain text."""
    parser = SpacyReportParser()
    sentences = [said for text in reports if (said := sentences_of(text))]
    plain = [parser.parse(" ".join(said)) for said in sentences]
    table.title(f"{len(sentences)} reports of {whose} in other layouts", "layout", "same graph key", "same labels")
    for layout, lay in LAYOUTS.items():
        graphs = [parser.parse(lay(said)) for said in sentences]
        keys = [graph_key(one) == graph_key(other) for one, other in zip(plain, graphs, strict=True)]
        labels = [labels_from_graph(one) == labels_from_graph(other) for one, other in zip(plain, graphs, strict=True)]
        table.row(layout, f"{np.mean(keys):.3f}", f"{np.mean(labels):.3f}")
        for said, same in zip(sentences, keys, strict=True):
            errors.add("layouts", f"{layout}\t{lay(said)!r}", not same)


def phantom_texts(count: int) -> list[str]:
    cases = map(find_case, range(count))
    sections = (write_report(case.scene, case.rng(Stream.REPORT), phrasing="reworded")[0] for case in cases)
    return [" ".join(filter(None, (each["findings"], each["impression"]))) for each in sections]


def measure_speed(table: Table, folder: Path, reports: Sequence[Report], repeats: int) -> None:
    texts = [report.text for report in reports]
    words = sum(len(graph.words) for graph in SpacyReportParser().parse_many(texts))
    table.title("Speed", "work", "reports a second", "words a second")
    seconds = sorted(timed(lambda: drain(SpacyReportParser().parse_many(texts))) for _ in range(5))
    table.row(
        "text to graph, one process, median of 5", f"{len(texts) / seconds[2]:,.0f}", f"{words / seconds[2]:,.0f}"
    )
    sentences = sorted({sentence for text in texts for sentence in text.split(". ")})
    once = timed(lambda: drain(SpacyReportParser().parse_many(sentences)))
    anew = sum(len(sentence.split()) for sentence in sentences) / once
    table.row("no sentence read before", "", f"{anew:,.0f}")
    table.row(
        f"so MIMIC-CXR, {MIMIC_REPORTS:,} reports of {MIMIC_WORDS} words",
        "",
        f"{MIMIC_REPORTS * MIMIC_WORDS / anew / 60:.0f} minutes",
    )
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "reports.jsonl"
        source.write_text("".join(copies(folder / "reports.jsonl", repeats)), encoding="utf-8")
        rates = {}
        for jobs in (1, 2):
            rates[jobs] = (
                len(texts)
                * repeats
                / timed(lambda jobs=jobs: parse_reports(open_reports(source), Path(place) / f"{jobs}.jsonl", jobs=jobs))
            )
            table.row(
                f"igcl graphs, {jobs} process{'es' * (jobs > 1)}, {repeats} copies without common sentences",
                f"{rates[jobs]:,.0f}",
                "",
            )
        table.row("two processes against one", f"{rates[2] / rates[1]:.2f} times", "")


def copies(path: Path, count: int) -> Iterator[str]:
    """Yield the lines of a file of reports, repeated, with a number in ids and sentences that tells them apart."""
    for copy in range(count):
        for record in _lines(path):
            record["uid"] += f"-{copy}"
            for section in ("findings", "impression"):
                record[section] = re.sub(r"(?<=\w)\.(?=\s|$)", f" {copy}.", record[section] or "")
            yield json.dumps(record) + "\n"


def ratio(number: int, sums: np.ndarray) -> float:
    return float(sums[0] / number)


def drain(graphs: Iterator[ReportGraph]) -> None:
    for _ in graphs:
        pass


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Errors:
    """Lines by measure, for whoever wants to read where parser and gold differ."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = defaultdict(list)

    def add(self, measure: str, line: str, happened: object = True) -> None:
        if happened:
            self.lines[measure].append(line)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for measure, lines in self.lines.items():
            (folder / f"{measure}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--openi", type=Path, help="folder of the collection (default $IGCL_DATA/openi)")
    parser.add_argument("--out", type=Path, help="write the tables there too")
    parser.add_argument("--errors", type=Path, help="folder for the reports on which parser and gold differ")
    parser.add_argument("--quick", action="store_true", help="fewer phantoms, less repetition")
    options = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    folder = options.openi or Path(os.environ.get("IGCL_DATA", "")) / "openi"
    table, errors = Table(), Errors()
    if (folder / "reports.jsonl").is_file():
        reports = read_open_i(folder)
        graphs = list(SpacyReportParser().parse_many(report.text for report in reports))
        measure_labels(table, reports, graphs, errors)
        measure_places(table, reports, graphs, errors)
        measure_normal(table, reports, graphs, errors)
        measure_duplicates(table, reports, graphs)
        del graphs
        measure_layouts(table, [report.text for report in reports][:: 10 if options.quick else 1], "Open-i", errors)
        measure_speed(table, folder, reports, 2 if options.quick else 20)
    else:
        print("no Open-i collection: name its folder with --openi or IGCL_DATA; phantoms only")
    measure_layouts(table, phantom_texts(100 if options.quick else 500), "phantoms", errors)
    measure_phantom(table, 100 if options.quick else 2000)
    print(table)
    if options.out:
        options.out.write_text(str(table), encoding="utf-8")
    if options.errors:
        errors.write(options.errors)


if __name__ == "__main__":
    main()
