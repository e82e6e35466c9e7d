"""The sizes of Point-Bind's encoder, as a model folder states them."""

import msgspec

from pandagpt_core.field_bounds import Positive


class PointSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`groups` centres with `neighbours` points each.

    local: width of a group's vector. projected: width of the trunk's output.
    """

    width: Positive
    blocks: Positive
    heads: Positive
    groups: Positive
    neighbours: Positive
    local: Positive
    projected: Positive

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of {self.heads} heads")


# The released checkpoint, imagebind_w3D.pth (Point-Bind, section 3; Point-MAE's base model).
W3D = PointSize(width=384, blocks=12, heads=6, groups=512, neighbours=32, local=256, projected=512)
