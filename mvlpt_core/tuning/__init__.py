"""Tuning many prompts side by side."""
