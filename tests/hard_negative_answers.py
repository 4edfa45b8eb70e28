"""Answers of a module to hard negatives, by the functions that the protocol uses, without its table."""

from igcl_lightning.protocols.hard_negatives import answers, matched_pairs, scorers


def hard_negative_answers(module, store, batch_size=64):
    """Return the answers to the test split of a store, by name of the score."""
    pairs = matched_pairs(module, store, batch_size)
    with module.evaluating():
        return {name: answers(pairs, score) for name, score in scorers(module).items()}
