"""A run by two processes, as torchrun starts them."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from pandagpt_core.training.tune.settings import TuneSettings
from service.local import ports

CODE = (
    "import json, sys; from pandagpt_core.training.tune.settings import parse_tune_settings\n"
    "from pandagpt_core.training.tune.run import train\n"
    "train(parse_tune_settings(json.load(open(sys.argv[1]))))"
)


def train_by_two(settings: TuneSettings, config: Path, root: Path) -> None:
    """config: a file to be written. The settings' cache of features must be empty: each process encodes its share."""
    config.write_bytes(msgspec.json.encode(settings))
    port = str(ports.choose("127.0.0.1", 0))
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, str(config)],
            cwd=root,
            env=os.environ | meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)},  # the variables of torchrun
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, written = process.communicate(timeout=150)
        assert process.returncode == 0, written.decode()
