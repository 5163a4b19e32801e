"""The worlds leaders are trained in: one file each, numpy only."""

from .dynamic import DynamicSetting
from .registry import (
    asked_setting,
    asked_world,
    get_setting,
    get_world,
    has_setting,
    list_dynamic_settings,
    list_settings,
)
from .setting import ExactRows, Followers, Outcome, Reference, Setting, World, exact_rows, rows_as_text, table_rows

__all__ = [
    "DynamicSetting",
    "ExactRows",
    "Followers",
    "Outcome",
    "Reference",
    "Setting",
    "World",
    "asked_setting",
    "asked_world",
    "exact_rows",
    "get_setting",
    "get_world",
    "has_setting",
    "list_dynamic_settings",
    "list_settings",
    "rows_as_text",
    "table_rows",
]
