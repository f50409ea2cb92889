"""Errors that a user can cause: one sentence that says what is wrong and what to do."""


class UserError(Exception):
    """Something that the user can put right. The message is the whole story: it is shown without a traceback."""


def first_line(error: BaseException) -> str:
    """Return what an error of a library says, shortened to its first line; its kind if it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


class Conflict(UserError):
    """Another run changed the champion since this one was judged."""
