import torch

from igcl_lightning.nn.projection import ProjectionHead


def test_output_has_unit_length():
    head = ProjectionHead(6, 4)
    torch.testing.assert_close(head(torch.randn(3, 6)).norm(dim=1), torch.ones(3))


def test_one_layer_is_a_linear_map_without_bias():
    head = ProjectionHead(6, 4, num_layers=1)
    assert [name for name, _ in head.named_parameters()] == ["0.weight"]
    x = torch.randn(3, 6)
    expected = x @ head[0].weight.T
    torch.testing.assert_close(head(x), expected / expected.norm(dim=1, keepdim=True))
