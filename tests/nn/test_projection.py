import torch

from igcl_lightning.nn.projection import ProjectionHead, ProjectionOptions


def test_output_has_unit_length():
    head = ProjectionHead(6, ProjectionOptions(4))
    torch.testing.assert_close(head(torch.randn(3, 6)).norm(dim=1), torch.ones(3))


def test_one_layer_is_a_linear_map_without_bias():
    head = ProjectionHead(6, ProjectionOptions(4, layers=1))
    assert [name for name, _ in head.named_parameters()] == ["0.weight"]
    x = torch.randn(3, 6)
    expected = x @ head[0].weight.T
    torch.testing.assert_close(head(x), expected / expected.norm(dim=1, keepdim=True))


def test_one_layer_is_drawn_with_the_scale_of_its_input():
    torch.manual_seed(0)
    assert abs(ProjectionHead(512, ProjectionOptions(768, layers=1))[0].weight.std() * 512**0.5 - 1) < 0.01
    assert abs(ProjectionHead(512, ProjectionOptions(768, layers=2))[2].weight.std() * 512**0.5 - 3**-0.5) < 0.01
