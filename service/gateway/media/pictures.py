"""Pictures that answers are about: their sides, and their bytes kept as long as a request, to be drawn on."""

from collections.abc import Sequence
from typing import Any

from pandagpt_core.boxes import Located
from pandagpt_core.media.pictures.drawing import write_objects
from service.broker.connection import AsyncStore, store_errors
from service.broker.keys import Keys
from service.gateway.decoding.pool import DecodePools
from service.gateway.errors import GatewayError

MAX_KEPT_BYTES = 16 << 20


class Pictures:
    """Pictures are opened in decoding children only. All methods raise `invalid_media`, `overloaded`."""

    def __init__(self, pool: DecodePools, store: AsyncStore, keys: Keys, life_s: float) -> None:
        """`life_s`: how long a kept picture stays."""
        self._pool, self._store, self._keys, self._life = pool, store, keys, round(life_s) + 1

    async def measure(self, data: bytes) -> tuple[int, int]:
        """Width and height in pixels, turned by EXIF's orientation."""
        width, height = (int(side) for side in await self._pool.decode("picture-size-v1", data, {}))
        return width, height

    def check_size(self, data: bytes) -> None:
        """Raises `too_large` for a picture that would not be kept."""
        if len(data) > MAX_KEPT_BYTES:
            size = f"The picture has {len(data)} bytes; to be annotated it may have {MAX_KEPT_BYTES}."
            raise GatewayError("too_large", size, param="annotate")

    async def keep(self, request_id: str, data: bytes) -> None:
        """Raises StoreUnavailable."""
        with store_errors():
            await self._store.set(self._keys.picture(request_id), data, ex=self._life)

    async def draw(self, request_id: str, objects: Sequence[Located]) -> bytes:
        """The kept picture with boxes and labels, as PNG. Raises `request_not_found`, StoreUnavailable."""
        with store_errors():
            data: Any = await self._store.get(self._keys.picture(request_id))
        if data is None:
            raise GatewayError("request_not_found", "No picture is kept of this request: send annotate with it.")
        png = await self._pool.decode("annotated-picture-v1", bytes(data), {"objects": write_objects(objects)})
        return png.tobytes()
