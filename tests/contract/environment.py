"""The virtual environment of the clients' own packages."""

import os
from pathlib import Path

from tests.conftest import ROOT

PYTHON = Path(os.environ.get("PANDAGPT_CLIENTS_PYTHON", ROOT / ".clients/bin/python"))
