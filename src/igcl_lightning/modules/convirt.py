"""ConVIRT: image-text contrastive learning (Zhang et al., MLHC 2022, arXiv 2010.00747)."""

from __future__ import annotations

from igcl_lightning.losses.contrastive import ContrastiveLoss, ContrastiveOptions
from igcl_lightning.modules.contrastive import PretrainOptimOptions
from igcl_lightning.modules.report_side import ReportOptions, ReportSide, text_encoder
from igcl_lightning.nn.image_encoder import ImageEncoder, ImageOptions
from igcl_lightning.nn.projection import ProjectionHead, ProjectionOptions


class ConVIRT(ReportSide):
    """Contrast chest X-rays with the sentences of their reports.

    The text encoder is a small transformer from scratch, on the same hashed subwords as IGCL's nodes; or, as in the
    paper, a Hugging Face model, whose tokenizer the data then needs (`data.tokenizer`).

    Args:
        image: image encoder and preprocessing.
        text: text encoder.
        projection: projection of each side into the shared space.
        loss: contrastive loss.
        optim: optimiser and learning-rate schedule.
    """

    sides: tuple[str, str] = ("image", "report")

    def __init__(
        self,
        image: ImageOptions = ImageOptions(),
        text: ReportOptions = ReportOptions(),
        projection: ProjectionOptions = ProjectionOptions(channels=512),
        loss: ContrastiveOptions = ContrastiveOptions(0.1, "identity", image_weight=0.75, learn_temperature=False),
        optim: PretrainOptimOptions = PretrainOptimOptions(),
    ) -> None:
        super().__init__(optim)
        self.save_hyperparameters()
        self.text: ReportOptions = self.group("text", text)
        projection = self.group("projection", projection)
        self.image_encoder = ImageEncoder(self.group("image", image))
        self.report_encoder = text_encoder(self.text)
        self.image_projection = ProjectionHead(self.image_encoder.out_channels, projection)
        self.report_projection = ProjectionHead(self.report_encoder.out_channels, projection)
        self.loss = ContrastiveLoss(self.group("loss", loss))
