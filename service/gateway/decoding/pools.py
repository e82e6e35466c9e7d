"""Two pools of decoding children: one for what people mostly send, one whose children have large libraries too.

Those read scientific files, meshes and laser scans. A locked child can import nothing, and the libraries cost a child
150 MB. So the second pool has no child until a file needs one, and ends it when none has for some seconds.
"""

from dataclasses import replace

import numpy as np

from pandagpt_core.media import Notes
from pandagpt_core.media.libraries import needs_library
from service.gateway.decoding.child_process import LIBRARIES, Params
from service.gateway.decoding.pool import DecodePool, PoolOptions


class DecodePools:
    """The interface of `DecodePool`; the recipe and the medium's first bytes choose."""

    def __init__(self, options: PoolOptions) -> None:
        self._usual = DecodePool(options)
        self._with_libraries = DecodePool(replace(options, command=[*options.command, LIBRARIES], processes=0))

    async def start(self) -> None:
        await self._usual.start()
        await self._with_libraries.start()

    async def close(self) -> None:
        await self._usual.close()
        await self._with_libraries.close()

    async def decode(self, recipe: str, data: bytes, params: Params, tenant: str = "") -> np.ndarray:
        """The recipe's array. Raises as `read`."""
        return (await self.read(recipe, data, params, tenant))[0]

    async def read(self, recipe: str, data: bytes, params: Params, tenant: str = "") -> tuple[np.ndarray, Notes]:
        """As `DecodePool.read`."""
        pool = self._with_libraries if needs_library(recipe, data) else self._usual
        return await pool.read(recipe, data, params, tenant)
