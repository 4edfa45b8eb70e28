"""Networks, in torch only."""
