"""For errors: raises one from another, walks to those that it followed, and quotes a value in a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and the errors that it followed, each once: code of a library or a user can make a circle."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def raise_as(translated: Exception, error: Exception) -> NoReturn:
    """Raises `translated` from `error`; only the error itself if they are the same, which would be its own cause."""
    try:
        if translated is error:
            raise error
        raise translated from error
    finally:
        # The traceback keeps this frame. If the frame kept the error, too, both would live until a garbage collection,
        # with all that the frames below hold: an open file, or a connection with its locks.
        del translated, error


def quoted(value: Any, most: int = 80) -> str:
    """Returns a value as Python writes it, for a message: at most so many characters, the rest as `…`.

    For a value that Python cannot write, such as a number of 5,000 digits, it returns words that say so.
    """
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # also of the user's own classes
        return "a value that cannot be shown"
    if "\n" in text:  # a table of pandas; a message is one line
        text = " ".join(text.split())
    if len(text) <= most:
        return text
    end = text[-1] if text[-1] in "'\"])}" else ""
    return f"{text[: most - 1 - len(end)]}…{end}"
