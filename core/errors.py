"""Errors that a user can cause, as one sentence that says what is wrong and what to do; and how text of strangers is shown."""

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

# Control characters, marks that change the direction of text, line separators and bytes that are no text: a terminal would act on them.
ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
SECRETS = (
    *("access-key", "access_key", "access_token", "accesskey", "accesskeyid", "auth", "awsaccesskeyid"),
    *("api-key", "api_key", "apikey", "client_secret", "passwd", "password", "pwd", "secret", "sig", "signature"),
    *("token", "x-amz-credential", "x-amz-security-token", "x-amz-signature", "x-goog-credential", "x-goog-signature"),
)
# A name and password before a host; the password may hold a slash that should have been spelled %2F.
USER = re.compile(r"""(?<=://)(?:[^/\s:"'<>]*:(?!\d+/)[^\s"'<>]*|[^/\s"'<>]*)@""")
# In a query, each letter of a name may be spelled %61. A colon behind a value is not its own: a message goes on there.
NAMES = "|".join("".join(f"(?:{re.escape(sign)}|%{ord(sign):x}|%{ord(sign.upper()):x})" for sign in name) for name in SECRETS)
QUERY = re.compile(rf"""([?&;#](?:{NAMES})=)(?:[^&;#\s"'<>]*[^&;#\s"'<>:])?""", re.IGNORECASE)
CONNINFO = re.compile(r"\b((?:ssl)?password\s*=\s*)('[^']*'|[^\s'\"]+)", re.IGNORECASE)
NO_THREAD = "can't start new thread"  # what Python says when the memory does not suffice for one
ADDRESS = re.compile(r"""(?:https?|s3)://[^\s"'<>]+""")


def shown(text: str) -> str:
    r"""Return text for a terminal, a log, a page or MLflow: control characters are escaped, as `\x1b`, and passwords in addresses masked."""
    masked = ADDRESS.sub(lambda found: QUERY.sub(r"\1***", found[0]), CONNINFO.sub(r"\1***", USER.sub("***@", text)))
    return escaped(masked)


def escaped(text: str) -> str:
    r"""Return text whose control characters are escaped, as `\x1b`."""
    return ODD.sub(lambda sign: ascii(sign[0])[1:-1], text)


def show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what Python prints of an error that nobody caught, as `shown`: an exception hook."""
    sys.stderr.write(shown("".join(traceback.format_exception(kind, error, trace))))


class UserError(Exception):
    """Something that the user can put right. The message is the whole story: it is shown without a traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


def first_line(error: BaseException) -> str:
    """Return what an error of a library says, shortened to its first line; its kind if it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def one_line(error: UserError) -> str:
    """Return the first of several problems, and how many there are besides."""
    first, *more = str(error).splitlines()
    return first + (f" (and {len(more)} more)" if more else "")


class Conflict(UserError):
    """Another run changed the champion since this one was judged."""


class EstimatorError(Exception):
    """What an estimator said about its parameters or the rows, in one line: it costs a trial, not the run."""


@contextmanager
def estimator_errors() -> Iterator[None]:
    """Turn whatever an estimator raises into an `EstimatorError`, unless the memory is full. Keep code of ours out of the block.

    Libraries have errors of their own: LightGBM's derives from `Exception` alone.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if NO_THREAD in str(error):
            raise
        reason = first_line(error)  # 'x' alone, of a KeyError, says nothing
        raise EstimatorError(f"{type(error).__name__}: {reason}" if isinstance(error, LookupError) else reason) from error


class NotComparable(UserError):
    """The champion cannot be compared with the challenger on the test rows of this run."""


class ChampionMissing(UserError):
    """MLflow names no champion, although one reigned or serves."""
