"""Tasks, frozen backbone, prompts, tuning and scoring for studies of prompt transferability."""

__version__ = "0.2.0"
