"""Errors that a user can cause: one sentence that says what is wrong and what to do."""


class UserError(Exception):
    """Something that the user can put right. The message is the whole story: it is shown without a traceback."""


class Conflict(UserError):
    """Another run changed the champion since this one was judged."""
