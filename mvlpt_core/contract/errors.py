"""The one exception that means: the user's input is at fault, not the program."""


class InputError(ValueError):
    """Bad input. The message is one sentence that names the file, key or value and what was expected."""
