"""Stand-ins for the processes of gateway and worker, to test the supervisor: `fake_halves.py gateway|worker FOLDER`.

Each writes its process id to FOLDER/<name>.<n>.start at its n-th start. A file FOLDER/<name>.<how> changes what it
does: `dies` ends it at once with status 1, `refuses` with status 2 once the other one has started; `hangs` lets it
ignore SIGTERM and start a child of its own that does too, whose process id goes to FOLDER/<name>.grandchild.
The gateway is ready while FOLDER/ready exists, and writes its settings' variables to FOLDER/environment.json.
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

OTHER = {"gateway": "worker", "worker": "gateway"}
# Ignores the signal, and lives longer than the test: only a kill ends it.
SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def main(name: str, folder: Path) -> int:
    """Behave as the folder says."""
    starts = len(list(folder.glob(f"{name}.*.start")))
    (folder / f"{name}.{starts}.start").write_text(str(os.getpid()))
    for how, status in (("dies", 1), ("refuses", 2)):
        if (folder / f"{name}.{how}").exists():
            while how == "refuses" and not list(folder.glob(f"{OTHER[name]}.*.start")):
                time.sleep(0.02)
            return status
    if (folder / f"{name}.hangs").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", SLEEPER])
        (folder / f"{name}.grandchild").write_text(str(child.pid))
    if name == "gateway":
        ours = {key: value for key, value in os.environ.items() if key.startswith("PANDAGPT_")}
        (folder / "environment.json").write_text(json.dumps(ours))
        answer(int(ours["PANDAGPT_GATEWAY_PORT"]), folder)
    time.sleep(600)  # until the parent under test ends it
    return 0


def answer(port: int, folder: Path) -> None:
    """Answer every GET with 200 or 503."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if (folder / "ready").exists() else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    HTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
