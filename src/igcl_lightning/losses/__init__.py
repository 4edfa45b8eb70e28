"""Losses: functions that read like the paper, and the modules that own their parameters."""
