"""The endpoints, one file a group."""

from fastapi import APIRouter

from service.gateway.routes import (
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
    tokens,
)


def routers() -> list[APIRouter]:
    rooms = (chat, completions, generate, embeddings, tokens, media, files, models, requests, ops, guide, page)
    return [room.router for room in rooms]
