"""IGCL: image-graph contrastive learning (Khanna et al., PMLR 225, 2023)."""

from __future__ import annotations

from igcl_lightning.losses.contrastive import ContrastiveLoss, ContrastiveOptions
from igcl_lightning.modules.contrastive import ContrastiveModule, PretrainOptimOptions
from igcl_lightning.nn.graph_encoder import GraphEncoder, GraphOptions
from igcl_lightning.nn.image_encoder import ImageEncoder, ImageOptions
from igcl_lightning.nn.projection import ProjectionHead, ProjectionOptions


class IGCL(ContrastiveModule):
    """Contrast chest X-rays with the knowledge graphs of their reports.

    Args:
        image: image encoder and preprocessing.
        graph: graph encoder.
        projection: projection of each side into the shared space.
        loss: contrastive loss.
        optim: optimiser and learning-rate schedule.

    Raises:
        IgclError: an option is out of range, or the backbone or its weights are unavailable.
    """

    def __init__(
        self,
        image: ImageOptions = ImageOptions(),
        graph: GraphOptions = GraphOptions(),
        projection: ProjectionOptions = ProjectionOptions(),
        loss: ContrastiveOptions = ContrastiveOptions(),
        optim: PretrainOptimOptions = PretrainOptimOptions(),
    ) -> None:
        super().__init__(optim)
        self.save_hyperparameters()
        projection = self.group("projection", projection)
        self.image_encoder = ImageEncoder(self.group("image", image))
        self.graph_encoder = GraphEncoder(self.group("graph", graph))
        self.image_projection = ProjectionHead(self.image_encoder.out_channels, projection)
        self.graph_projection = ProjectionHead(self.graph_encoder.out_channels, projection)
        self.loss = ContrastiveLoss(self.group("loss", loss))
