"""The endpoints, one file a group."""

from fastapi import APIRouter

from service.gateway.routes import chat, embeddings, files, generate, media, models, ops, page, requests


def routers() -> list[APIRouter]:
    rooms = (chat, generate, embeddings, media, files, models, requests, ops, page)
    return [room.router for room in rooms]
