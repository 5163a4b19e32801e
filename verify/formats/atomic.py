"""Atomic writing: a file is either the old one or the whole new one, whatever interrupts the program."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..errors import UnreadableError


def write_atomic(path: str | Path, data: str | bytes) -> None:
    """Writes a file through a temporary one beside it; missing folders are made.

    Raises:
        UnreadableError: the place cannot be written.
    """
    target = Path(path)
    raw = data.encode("utf-8") if isinstance(data, str) else data
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise UnreadableError(f"cannot be written: {error.strerror or error}", path=path) from None
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except OSError as error:
        raise UnreadableError(f"cannot be written: {error.strerror or error}", path=path) from None
    finally:
        Path(name).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
