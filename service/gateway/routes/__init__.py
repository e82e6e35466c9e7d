"""The endpoints, one file a group."""

from fastapi import APIRouter

from service.gateway.routes import (
    audio,
    batches,
    chat,
    completions,
    embeddings,
    files,
    generate,
    guide,
    media,
    models,
    ollama,
    ops,
    page,
    requests,
    responses,
    similarity,
    tokens,
)


def routers(*, with_ollama: bool = False) -> list[APIRouter]:
    """with_ollama: also what the setting `gateway.ollama` turns on."""
    rooms = (
        chat,
        completions,
        responses,
        batches,
        generate,
        embeddings,
        audio,
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
    return [room.router for room in (*rooms, *([ollama] if with_ollama else []))]
