"""The endpoints, one file a group."""

from fastapi import APIRouter

from service.gateway.routes import chat, embeddings, files, generate, models, ops, page, requests


def routers() -> list[APIRouter]:
    rooms = (chat, generate, embeddings, files, models, requests, ops, page)
    return [room.router for room in rooms]
