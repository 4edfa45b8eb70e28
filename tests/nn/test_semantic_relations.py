import torch
from matching_cases import FORM_CHANNELS, sides
from torch import nn

from igcl_lightning.nn.semantic_relations import SemanticRelationOptions, SemanticRelations


def test_transformer_step_is_that_of_torch():
    torch.manual_seed(0)
    ours = SemanticRelations(FORM_CHANNELS, SemanticRelationOptions(1, "transformer")).double()
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    (step,) = ours.steps
    theirs = nn.TransformerEncoderLayer(FORM_CHANNELS, 1, 2 * FORM_CHANNELS, 0.0, "gelu", 1e-5, True, True).double()
    norm, wide, _, narrow = step.feedforward
    no_bias = torch.zeros(FORM_CHANNELS)
    theirs.load_state_dict(
        {
            "self_attn.in_proj_weight": torch.cat(
                [step.attention.query.weight, step.attention.key.weight, step.value.weight]
            ),
            "self_attn.in_proj_bias": torch.cat([step.attention.query.bias, no_bias, step.value.bias]),
            **{f"self_attn.out_proj.{name}": value for name, value in step.out.state_dict().items()},
            **{f"norm1.{name}": value for name, value in step.norm.state_dict().items()},
            **{f"norm2.{name}": value for name, value in norm.state_dict().items()},
            **{f"linear1.{name}": value for name, value in wide.state_dict().items()},
            **{f"linear2.{name}": value for name, value in narrow.state_dict().items()},
        }
    )
    _, units = sides()
    matching = torch.randn(*units.mask.shape, FORM_CHANNELS, dtype=torch.double)
    bias = step.attention.relation[units.relation.long()].masked_fill(~units.mask[:, None], -torch.inf)
    found = ours(matching[None], units.mask[None], units.relation[None])[0]
    torch.testing.assert_close(found[units.mask], theirs(matching, src_mask=bias)[units.mask])


def test_a_relation_changes_the_unit_at_its_tail_only():
    torch.manual_seed(0)
    module = SemanticRelations(FORM_CHANNELS, SemanticRelationOptions(1)).double()
    nn.init.normal_(module.steps[0].attention.relation)
    mask = torch.ones(1, 1, 4, dtype=torch.bool)
    matching = torch.randn(1, 1, 4, FORM_CHANNELS, dtype=torch.double)
    none = torch.zeros(1, 1, 4, 4, dtype=torch.int8)
    one = none.clone()
    one[..., 2, 0] = 1  # from unit 0 to unit 2
    changed = (module(matching, mask, one) - module(matching, mask, none)).abs().sum(-1).flatten() > 0
    assert changed.tolist() == [False, False, True, False]
    torch.testing.assert_close(module(matching, mask, None), module(matching, mask, none))


def test_no_step_leaves_matchings_alone():
    matching = torch.randn(2, 3, 4, FORM_CHANNELS)
    module = SemanticRelations(FORM_CHANNELS)
    assert module(matching, torch.ones(1, 3, 4, dtype=torch.bool), None) is matching
    assert list(module.parameters()) == []
