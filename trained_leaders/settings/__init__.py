"""The worlds leaders are trained in: one file each, numpy only."""

from .registry import get_setting, list_settings
from .setting import ExactRows, Followers, Outcome, Reference, Setting, exact_rows, rows_as_text, table_rows

__all__ = [
    "ExactRows",
    "Followers",
    "Outcome",
    "Reference",
    "Setting",
    "exact_rows",
    "get_setting",
    "list_settings",
    "rows_as_text",
    "table_rows",
]
