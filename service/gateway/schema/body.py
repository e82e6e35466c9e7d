"""The base of all bodies: JSON types taken literally, nothing infinite."""

from pydantic import BaseModel, ConfigDict


class BodyModel(BaseModel):
    """Base: JSON types are taken literally (no "1" for 1), NaN and infinity are refused."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, frozen=True)


class PartModel(BodyModel):
    """Base of content parts; fields we do not know (`detail`, `cache_control`) do not change the answer."""

    model_config = ConfigDict(extra="allow")
