"""Two pools of decoding children: one for what people mostly send, one whose children have scientific libraries too.

A locked child can import nothing, and the libraries cost a child 90 MB. So the second pool has no child until a file
needs one, and ends it when none has for some seconds.
"""

from dataclasses import replace

import numpy as np

from pandagpt_core.media import Notes
from pandagpt_core.media.scientific import is_scientific
from service.gateway.decoding.child_process import SCIENTIFIC, Params
from service.gateway.decoding.pool import DecodePool, PoolOptions


class DecodePools:
    """The interface of `DecodePool`; the medium's first bytes choose."""

    def __init__(self, options: PoolOptions) -> None:
        self._usual = DecodePool(options)
        self._scientific = DecodePool(replace(options, command=[*options.command, SCIENTIFIC], processes=0))

    async def start(self) -> None:
        await self._usual.start()
        await self._scientific.start()

    async def close(self) -> None:
        await self._usual.close()
        await self._scientific.close()

    async def decode(self, recipe: str, data: bytes, params: Params, tenant: str = "") -> np.ndarray:
        """The recipe's array. Raises as `read`."""
        return (await self.read(recipe, data, params, tenant))[0]

    async def read(self, recipe: str, data: bytes, params: Params, tenant: str = "") -> tuple[np.ndarray, Notes]:
        """As `DecodePool.read`."""
        pool = self._scientific if is_scientific(data) else self._usual
        return await pool.read(recipe, data, params, tenant)
