"""The exception tree: every error a user can cause is a `SpverifyError` whose message is one full sentence.

A play that is not an equilibrium, or a certificate that proves nothing, is a *value* (a refuted verdict, a refused
recheck) and never an exception. Exceptions say that the question could not be put; the command line turns each
into one line and exit code 2.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """Text from a stranger's file on one line, without what moves a terminal's cursor.

    Example:
        >>> printable("two\\nlines")
        'two�lines'
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


class SpverifyError(Exception):
    """Root of the tree.

    Args:
        message: one sentence: what is wrong, where, what was expected and what was found.
        path: the file the message speaks about, if there is one; it is put in front of the message.
        field: the place inside the document, such as ``payoffs[0][1]``.

    Example:
        >>> str(FormatError("expected a number, got 'x'", path="a.game.json", field="prior[0]"))
        "a.game.json: prior[0]: expected a number, got 'x'"
    """

    kind = "error"

    def __init__(self, message: str, *, path: object = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = None if path is None else str(path)
        self.field = field

    def __str__(self) -> str:
        return printable(": ".join(part for part in (self.path, self.field, self.message) if part))

    def at(self, path: object) -> SpverifyError:
        """The same error with the file it came from; an error that names its file already is left alone."""
        if self.path is None:
            self.path = str(path)
        return self


class UnreadableError(SpverifyError):
    """A file that is missing, not readable, too large, truncated, or not of its format at all."""

    kind = "unreadable"


class FormatError(SpverifyError):
    """A document with a wrong, missing or unknown field."""

    kind = "format"


class GameError(FormatError):
    """A game whose parts do not fit together: axes, prior, masks."""

    kind = "game"


class PlayError(FormatError):
    """A play that does not fit its game, or rows that are no probability distributions."""

    kind = "play"


class CertificateError(FormatError):
    """A certificate that is not of the form; one that merely proves nothing is refused as a value instead."""

    kind = "certificate"


class LeaderFileError(SpverifyError):
    """A leader file that is refused; the message names the rule it broke."""

    kind = "leader"


class SettingError(SpverifyError):
    """An unknown setting, or parameters the setting cannot have."""

    kind = "setting"


class UsageError(SpverifyError):
    """A question that makes no sense as put: an unknown objective, a negative epsilon."""

    kind = "usage"


class BudgetError(SpverifyError):
    """A time or memory limit ended the work before anything could be said."""

    kind = "budget"
