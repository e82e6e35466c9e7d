"""The version of the installed package."""

import importlib.metadata


def version() -> str:
    return importlib.metadata.version("pandagpt")
