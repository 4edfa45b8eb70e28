"""IGCL: image-graph contrastive learning (Khanna et al., PMLR 225, 2023)."""

from __future__ import annotations

from igcl_lightning.errors import IgclError
from igcl_lightning.losses.contrastive import ContrastiveLoss
from igcl_lightning.modules.contrastive import ContrastiveModule
from igcl_lightning.nn.graph_encoder import GraphEncoder
from igcl_lightning.nn.image_encoder import ImageEncoder
from igcl_lightning.nn.projection import ProjectionHead


class IGCL(ContrastiveModule):
    """Contrast chest X-rays with the knowledge graphs of their reports.

    Args:
        backbone: timm name of the image encoder.
        image_size: side of the square the image encoder sees, in pixels.
        image_weights: "none", "hub" or the path of a local weights file (see `ImageEncoder`).
        graph_channels: width of the graph encoder.
        graph_layers: R-GCN layers.
        attention_layers: transformer layers over the nodes of a report; 0 leaves components apart.
        attention_heads: heads of each.
        readout: "max", "mean" or "attention".
        inverse_relations: also pass messages against the direction of relations.
        graph_dropout: in the transformer layers.
        embedding_channels: width of the space both sides share.
        temperature: initial temperature of the loss.
        targets: which pairs count as positive (see `ContrastiveLoss`).
        learning_rate: see `BaseModule`.
        weight_decay: see `BaseModule`.
        warmup_fraction: see `BaseModule`.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        image_size: int = 224,
        image_weights: str = "none",
        graph_channels: int = 256,
        graph_layers: int = 2,
        attention_layers: int = 1,
        attention_heads: int = 2,
        readout: str = "max",
        inverse_relations: bool = True,
        graph_dropout: float = 0.1,
        embedding_channels: int = 128,
        temperature: float = 0.07,
        targets: str = "graph",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        warmup_fraction: float = 0.05,
    ) -> None:
        super().__init__(learning_rate, weight_decay, warmup_fraction)
        if attention_layers and graph_channels % attention_heads:
            raise IgclError(
                f"model.graph_channels {graph_channels} is no multiple of attention_heads {attention_heads}"
            )
        if temperature <= 0:
            raise IgclError(f"model.temperature is {temperature}, not above 0")
        self.save_hyperparameters()
        self.image_encoder = ImageEncoder(backbone, image_size, image_weights)
        self.graph_encoder = GraphEncoder(
            graph_channels, graph_layers, attention_layers, attention_heads, readout, inverse_relations, graph_dropout
        )
        self.image_projection = ProjectionHead(self.image_encoder.out_channels, embedding_channels)
        self.graph_projection = ProjectionHead(self.graph_encoder.out_channels, embedding_channels)
        self.loss = ContrastiveLoss(temperature, targets=targets)
