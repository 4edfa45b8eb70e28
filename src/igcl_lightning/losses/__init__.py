"""Losses: functions after the papers, and the modules that own their parameters."""
