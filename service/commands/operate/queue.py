"""`pandagpt queue`: requests that wait, run or were given up; retry and drop.

Callers' texts are shown only with `--text`.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict
from typing import Any

from service import logs, settings
from service.broker.errors import BrokerError
from service.broker.gateway.admin import QueueAdmin, QueueItem
from service.broker.protocol import Generate
from service.commands.overrides import overrides
from service.commands.stores import with_store

COLUMNS = ("state", "model", "priority", "id", "kind", "bytes", "age", "attempts", "worker", "reason")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list | show | retry | drop")
    listing = actions.add_parser("list", help="running and waiting requests, and dead letters")
    listing.add_argument("--state", choices=("waiting", "running", "dead"), help="only these")
    show = actions.add_parser("show", help="one request with all that is known of it")
    show.add_argument("name", help="request id or stream id")
    show.add_argument("--text", action="store_true", help="with what its caller wrote")
    retry = actions.add_parser("retry", help="queue dead letters anew, under their own ids")
    drop = actions.add_parser("drop", help="forget dead letters; cancel requests that wait or run")
    for action in (retry, drop):
        chosen = action.add_mutually_exclusive_group(required=True)
        chosen.add_argument("names", nargs="*", default=[], metavar="name", help="request ids or stream ids")
        chosen.add_argument("--all-dead", action="store_true", help="every dead letter")
    for action in (listing, show, retry, drop):
        action.add_argument("--model", help="only this model's")
        action.add_argument("--store", metavar="URL", help="address of the Redis or Valkey")
        action.add_argument("--json", action="store_true", help="JSON instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Look, or act; 1 where nothing has that name or something could not be done."""
    chosen = settings.load(overrides(arguments, store="store.url"))
    logs.configure(chosen.log.level, chosen.log.format, "queue")
    return asyncio.run(_run(arguments, with_store(chosen).store))


async def _run(arguments: argparse.Namespace, store: settings.StoreSettings) -> int:
    inspection = QueueAdmin.connect(store)
    try:
        models = [arguments.model] if arguments.model else await inspection.models()
        return await ACTIONS[arguments.action](inspection, models, arguments)
    finally:
        await inspection.close()


async def _list(inspection: QueueAdmin, models: Sequence[str], arguments: argparse.Namespace) -> int:
    items = [item for item in await inspection.items(models) if arguments.state in (None, item.state)]
    rows = [_row(item) for item in items]
    print(json.dumps(rows, indent=2) if arguments.json else _table(rows))
    return 0


async def _show(inspection: QueueAdmin, models: Sequence[str], arguments: argparse.Namespace) -> int:
    items = await inspection.find(arguments.name, models)
    if not items:
        return _unknown(arguments.name)
    for item in items:
        shown = _row(item) | _details(item, arguments.text)
        lines = [f"{name:<12}{value}" for name, value in shown.items() if value not in (None, "")]
        print(json.dumps(shown, indent=2) if arguments.json else "\n".join(lines))
    return 0


async def _retry(inspection: QueueAdmin, models: Sequence[str], arguments: argparse.Namespace) -> int:
    return await _each(inspection, models, arguments, "queued again", inspection.retry)


async def _drop(inspection: QueueAdmin, models: Sequence[str], arguments: argparse.Namespace) -> int:
    return await _each(inspection, models, arguments, "dropped", inspection.drop)


async def _each(
    inspection: QueueAdmin,
    models: Sequence[str],
    arguments: argparse.Namespace,
    done: str,
    work: Callable[[QueueItem], Coroutine[Any, Any, None]],
) -> int:
    found = {name: await inspection.find(name, models) for name in arguments.names}
    items = [item for some in found.values() for item in some]
    if arguments.all_dead:
        items = [item for item in await inspection.items(models) if item.state == "dead"]
    status, rows = 0, []
    for item in items:
        outcome = done
        try:
            await work(item)
        except BrokerError as error:
            status, outcome = 1, error.message
        rows.append({"id": item.id, "entry": item.entry, "model": item.model, "outcome": outcome})
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        print("\n".join(f"{row['id'] or row['entry']}: {row['outcome']}" for row in rows))
    return max([status, *(_unknown(name) for name, some in found.items() if not some)])


ACTIONS = {"list": _list, "show": _show, "retry": _retry, "drop": _drop}


def _unknown(name: str) -> int:
    print(f"pandagpt: nothing in the queue or the dead letters is called {name}", file=sys.stderr)
    return 1


def _row(item: QueueItem) -> dict[str, Any]:
    fields = asdict(item)
    fields.pop("request")
    age = max(0.0, time.time() - fields.pop("since"))
    return {**{name: fields.get(name) for name in COLUMNS}, "age": round(age, 1), "entry": item.entry}


def _details(item: QueueItem, text: bool) -> dict[str, Any]:
    request = item.request
    if request is None:
        return {}
    media = [f"{part.modality.value} {part.digest[:16]}" for part in request.media]
    details: dict[str, Any] = {"tenant": request.tenant, "deadline": request.deadline, "media": media}
    if isinstance(request, Generate):
        details |= {"n": request.n, "max_tokens": request.params.max_tokens, "turns": len(request.turns)}
        details["characters"] = sum(len(turn.text) for turn in request.turns)
        if text:
            details["text"] = [*(f"{turn.role}: {turn.text}" for turn in request.turns), *map(str, request.prompts)]
    return details


def _table(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "nothing waits, runs or is dead"
    cells = [list(COLUMNS), *([_cell(name, row[name]) for name in COLUMNS] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}s" if name == "age" else str(value)
