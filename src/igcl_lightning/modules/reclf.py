"""RECLF: local matchings of image regions and report units, with relations among them (Li et al., arXiv 2401.10501)."""

from __future__ import annotations

from typing import Any

from igcl_lightning.data.samples import PairBatch
from igcl_lightning.errors import IgclError
from igcl_lightning.losses.contrastive import ContrastiveOptions
from igcl_lightning.losses.counterfactual import CounterfactualOptions
from igcl_lightning.modules.contrastive import PretrainOptimOptions
from igcl_lightning.modules.matching import MatchingModule
from igcl_lightning.modules.report_side import ReportOptions, ReportSide, text_encoder
from igcl_lightning.nn.checks import check_choice
from igcl_lightning.nn.graph_encoder import GraphEncoder, GraphOptions
from igcl_lightning.nn.image_encoder import ImageEncoder, ImageOptions
from igcl_lightning.nn.importance_relations import ImportanceRelationOptions
from igcl_lightning.nn.matching import MatchingOptions
from igcl_lightning.nn.projection import ProjectionHead, ProjectionOptions
from igcl_lightning.nn.semantic_relations import SemanticRelationOptions
from igcl_lightning.nn.words_and_entities import WordsAndEntities

UNITS = ("words", "entities", "both")


class RECLF(ReportSide, MatchingModule):
    """Contrast chest X-rays with their reports, as wholes and by relations among their local matchings.

    Each unit of a report attends to the regions of the image, which gives a local matching. Semantic relations (`srm`)
    let the matchings of a pair inform each other; importance relations (`irm`) weigh them for the score of the pair.
    The paper's units are words. Entities of the report's graph, with its relations, are an addition of ours. The
    equations of the paper were not available: docs/reclf.md tells what is published and what is reconstructed.

    Args:
        image: image encoder and preprocessing.
        units: units of a report: "words", "entities" or "both".
        text: text encoder, unless the units are entities.
        graph: graph encoder, unless the units are words.
        projection: projection of each side into the shared space.
        matching: local matching of image regions and units.
        srm: semantic relations among the matchings of a pair.
        irm: importance of the matchings of a pair.
        loss: contrastive loss of both branches.
        counterfactual: counterfactual reports as negatives of their own; none by default.
        optim: optimiser and learning-rate schedule.

    Raises:
        IgclError: an option is out of range, or a backbone or its weights are unavailable.
    """

    sides: tuple[str, str] = ("image", "report")

    def __init__(
        self,
        image: ImageOptions = ImageOptions(),
        units: str = "words",
        text: ReportOptions = ReportOptions(sentence_sampling=False),
        graph: GraphOptions = GraphOptions(),
        projection: ProjectionOptions = ProjectionOptions(),
        matching: MatchingOptions = MatchingOptions(form="sqdiff"),
        srm: SemanticRelationOptions = SemanticRelationOptions(steps=3),
        irm: ImportanceRelationOptions = ImportanceRelationOptions(pooling="attention"),
        loss: ContrastiveOptions = ContrastiveOptions(semantic_weight=0.5, semantic_source="graph"),
        counterfactual: CounterfactualOptions = CounterfactualOptions(),
        optim: PretrainOptimOptions = PretrainOptimOptions(),
    ) -> None:
        check_choice("model.units", units, UNITS)
        self.sides = ("image", "graph" if units == "entities" else "report")
        super().__init__(optim)
        self.save_hyperparameters()
        self.units = units
        projection, matching = self.group("projection", projection), self.group("matching", matching)
        self.image_encoder = ImageEncoder(self.group("image", image), matching.region_layer)
        second = self._second_encoder(self.group("text", text), self.group("graph", graph))
        self.add_module(f"{self.sides[1]}_encoder", second)
        self.image_projection = ProjectionHead(self.image_encoder.out_channels, projection)
        self.add_module(f"{self.sides[1]}_projection", ProjectionHead(second.out_channels, projection))
        relations, counterfactual = (
            (self.group("srm", srm), self.group("irm", irm)),
            self.group("counterfactual", counterfactual),
        )
        if counterfactual.kinds and self.text is not None and self.text.sentence_sampling:
            # One sentence of each would tell them apart by which was drawn.
            raise IgclError("model.counterfactual.kinds needs whole reports: set model.text.sentence_sampling to false")
        self.set_branches(self.group("loss", loss), matching, *relations, counterfactual)

    def _second_encoder(self, text: ReportOptions, graph: GraphOptions) -> Any:
        """Return the encoder of the report side."""
        if self.units == "entities":
            return GraphEncoder(graph)
        self.text = text
        return (
            text_encoder(text) if self.units == "words" else WordsAndEntities(text_encoder(text), GraphEncoder(graph))
        )

    def side_input(self, side: str, batch: PairBatch) -> Any:
        """Return the input of a side's encoder; reports read as both kinds of units are a pair of report and graph."""
        value = super().side_input(side, batch)
        return (value, batch.graph) if self.units == "both" and side == "report" else value

    @property
    def input_kinds(self) -> tuple[str, ...]:
        """Kinds of inputs that both sides read."""
        return (*self.sides, "graph") if self.units == "both" else self.sides

    def embedded_kind(self, side: str) -> str:
        """Return the kind of inputs, as `InputReader.batches` names it, that the encoder of a side reads."""
        return "report and graph" if self.units == "both" and side == "report" else side
