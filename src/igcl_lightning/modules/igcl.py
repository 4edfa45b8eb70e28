"""IGCL: image-graph contrastive learning (Khanna et al., PMLR 225, 2023)."""

from __future__ import annotations

from igcl_lightning.losses.contrastive import ContrastiveOptions
from igcl_lightning.losses.counterfactual import CounterfactualOptions
from igcl_lightning.modules.contrastive import PretrainOptimOptions
from igcl_lightning.modules.matching import MatchingModule
from igcl_lightning.nn.graph_encoder import GraphEncoder, GraphOptions
from igcl_lightning.nn.image_encoder import ImageEncoder, ImageOptions
from igcl_lightning.nn.importance_relations import ImportanceRelationOptions
from igcl_lightning.nn.matching import MatchingOptions
from igcl_lightning.nn.projection import ProjectionHead, ProjectionOptions
from igcl_lightning.nn.semantic_relations import SemanticRelationOptions


class IGCL(MatchingModule):
    """Contrast chest X-rays with the knowledge graphs of their reports.

    The paper contrasts whole images with whole graphs. Local matching (`matching.weight` above 0) and counterfactual
    graphs (`counterfactual.kinds`) are additions of ours.

    Args:
        image: image encoder and preprocessing.
        graph: graph encoder.
        projection: projection of each side into the shared space.
        matching: local matching of image regions and entities; off by default.
        srm: semantic relations among the matchings of a pair.
        irm: importance of the matchings of a pair.
        loss: contrastive loss.
        counterfactual: counterfactual graphs as negatives of their own; none by default.
        optim: optimiser and learning-rate schedule.

    Raises:
        IgclError: an option is out of range, or the backbone or its weights are unavailable.
    """

    def __init__(
        self,
        image: ImageOptions = ImageOptions(),
        graph: GraphOptions = GraphOptions(),
        projection: ProjectionOptions = ProjectionOptions(),
        matching: MatchingOptions = MatchingOptions(weight=0.0),
        srm: SemanticRelationOptions = SemanticRelationOptions(),
        irm: ImportanceRelationOptions = ImportanceRelationOptions(),
        loss: ContrastiveOptions = ContrastiveOptions(targets="soft"),
        counterfactual: CounterfactualOptions = CounterfactualOptions(),
        optim: PretrainOptimOptions = PretrainOptimOptions(),
    ) -> None:
        super().__init__(optim)
        self.save_hyperparameters()
        projection = self.group("projection", projection)
        matching = self.group("matching", matching)
        self.image_encoder = ImageEncoder(self.group("image", image), matching.region_layer)
        self.graph_encoder = GraphEncoder(self.group("graph", graph))
        self.image_projection = ProjectionHead(self.image_encoder.out_channels, projection)
        self.graph_projection = ProjectionHead(self.graph_encoder.out_channels, projection)
        relations = self.group("srm", srm), self.group("irm", irm)
        self.set_branches(self.group("loss", loss), matching, *relations, self.group("counterfactual", counterfactual))
