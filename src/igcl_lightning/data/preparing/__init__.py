"""Steps from studies to a store; the work can be interrupted and resumed."""
