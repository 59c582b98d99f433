"""The one kind of error that is a user's to mend, and what a machine may lack."""

from __future__ import annotations

import errno
import os

# Of a disk that takes nothing more, or nothing at all.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)


class InputError(ValueError):
    """Bad input; the message is one sentence naming the file, key or value and what was expected.

    It stays on one line whatever names it holds: line breaks and other control characters are spelt out.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


def memory_is_full(error: BaseException) -> bool:
    """Whether an error says so: Python's own, torch's of a GPU, or torch's of the processor."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def lack_of_the_machine(error: BaseException) -> InputError | None:
    """The sentence for an error that is neither the program's nor the input's: no memory left, no room on a
    disk, or no right to write there; None for others."""
    if memory_is_full(error):
        return InputError(
            "memory is full: expected less side by side (a smaller memory_gb or pack of the study), or "
            "a machine with more"
        )
    if not isinstance(error, OSError) or error.errno not in (*_FULL, *_REFUSED):
        return None
    place, number = error.filename or "a file", error.errno
    needed = "room for it" if number in _FULL else "a folder that may be written to"
    return InputError(f"{place} cannot be written ({os.strerror(number)}): expected {needed}")
