"""The one kind of error that is a user's to mend."""


class InputError(ValueError):
    """Bad input; the message is one sentence naming the file, key or value and what was expected.

    It stays on one line whatever names it holds: line breaks and other control characters are spelt out.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))
