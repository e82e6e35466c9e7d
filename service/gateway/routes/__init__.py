"""The endpoints, one file a group."""

from fastapi import APIRouter

from service.gateway.routes import chat, embeddings, files, generate, guide, media, models, ops, page, requests


def routers() -> list[APIRouter]:
    rooms = (chat, generate, embeddings, media, files, models, requests, ops, guide, page)
    return [room.router for room in rooms]
