"""The settings, where users import them from."""

from sharq.settings.options import Settings

__all__ = ["Settings"]
