"""The table of examples in the written interface.

A new endpoint needs a row in `text.py`, `vectors.py`, `kept.py` or `service.py`, by its operation id.
"""
