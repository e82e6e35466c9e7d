"""The modalities of this project: ImageBind's six (Girdhar et al. 2023, section 3), video apart from pictures.

Point-Bind (Guo et al. 2023) adds point clouds.
"""

from pandagpt_core.modalities.builtin.clouds import POINTS
from pandagpt_core.modalities.builtin.maps import DEPTH, THERMAL
from pandagpt_core.modalities.builtin.motion import IMU
from pandagpt_core.modalities.builtin.pictures import IMAGE, VIDEO
from pandagpt_core.modalities.builtin.sound import AUDIO
from pandagpt_core.modalities.builtin.text import TEXT
from pandagpt_core.modalities.builtin.writing import MEDIA
from pandagpt_core.modalities.entry import Recipe

ENTRIES = (IMAGE, VIDEO, AUDIO, DEPTH, THERMAL, IMU, TEXT, POINTS)
# No encoder's: for speech to text, for answers that name places in a picture, for many texts at once, and for the
# parameters that a file names itself.
TOOLS = (
    Recipe("speech-audio-v1", f"{MEDIA}.sound.speech", "speech"),
    Recipe("clip-bpe-batch-v1", f"{MEDIA}.text", "clip_bpe_batch"),
    Recipe("picture-size-v1", f"{MEDIA}.pictures.annotate", "size"),
    Recipe("annotated-picture-v1", f"{MEDIA}.pictures.annotate", "annotated"),
    Recipe("depth-parameters-v1", f"{MEDIA}.maps.parameters", "depth"),
    Recipe("thermal-parameters-v1", f"{MEDIA}.maps.parameters", "heat"),
)
