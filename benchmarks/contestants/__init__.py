"""The contestants: each a process of its own, over a pipe (`*_child.py`) or over HTTP (`servers.py`)."""
