"""The one error a user of the analysis is meant to read."""


class InputError(ValueError):
    """A table, column, value or setting is not usable; the message is one sentence naming it."""
