"""Files of scientific tools (Parquet, MATLAB, HDF5), read by libraries that few media need.

A decoding child can import nothing once it is locked, and the libraries cost it 90 MB. So a gateway reads these files
in a child of their own kind, which starts when the first one comes (`service.gateway.decoding.pool`).
"""

from pandagpt_core.media.scientific.magic import is_scientific

__all__ = ["is_scientific"]
