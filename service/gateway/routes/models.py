"""GET /v1/models and /v1/models/{id}: the announcements of workers."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request

from pandagpt_core.modalities import parameters_of
from pandagpt_core.types import ModelInfo
from service.gateway.access.auth import Access, Caller, Scope
from service.gateway.errors import GatewayError
from service.gateway.schema.documented import documented
from service.gateway.schema.resources import Model, ModelList
from service.gateway.state import gateway_of

router = APIRouter(tags=["models"])
_ModelId = Annotated[str, Path(description="A model's id")]
_Reader = Annotated[Caller, Depends(Access(Scope.MODELS))]


@router.get("/v1/models/", response_model=None, responses=documented(ModelList), include_in_schema=False)
@router.get("/v1/models", response_model=None, responses=documented(ModelList))
async def list_models(request: Request, _caller: _Reader) -> dict[str, Any]:
    """The models that live workers serve, and those that are served from zero."""
    models = await gateway_of(request).requests.models()
    return {"object": "list", "data": [_model(info) for info in models.values()]}


@router.get("/v1/models/{model:path}", response_model=None, responses=documented(Model))
async def get_model(request: Request, model: _ModelId, _caller: _Reader) -> dict[str, Any]:
    """One model."""
    models = await gateway_of(request).requests.models()
    if model not in models:
        raise GatewayError("model_not_found", "There is no such model.", param="model")
    return _model(models[model])


def _model(info: ModelInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "object": "model",
        "created": info.created,
        "owned_by": "pandagpt",
        "system": info.system,
        "input_modalities": [modality.value for modality in info.recipes],
        "recipes": {modality.value: recipe for modality, recipe in info.recipes.items()},
        "media_parameters": {
            modality.value: [one.name for one in parameters_of(info.recipes, modality)] for modality in info.recipes
        },
        "version": info.version,
        "max_model_len": info.max_model_len,
        "embedding_dim": info.embedding_dim,
        "tools": info.tools,
        "speech": info.speech is not None,
        "embedding_dimensions": sorted({*info.dimensions, info.embedding_dim} - {0}),
        "options": [asdict(option) for option in info.options],
    }
