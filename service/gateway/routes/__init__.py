"""The endpoints, one file a group."""

from fastapi import APIRouter

from service.gateway.routes import (
    batches,
    chat,
    completions,
    embeddings,
    files,
    generate,
    guide,
    media,
    models,
    ops,
    page,
    requests,
    responses,
    similarity,
    tokens,
)


def routers() -> list[APIRouter]:
    rooms = (
        chat,
        completions,
        responses,
        batches,
        generate,
        embeddings,
        similarity,
        tokens,
        media,
        files,
        models,
        requests,
        ops,
        guide,
        page,
    )
    return [room.router for room in rooms]
