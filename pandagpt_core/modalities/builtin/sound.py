"""Sounds."""

from types import MappingProxyType

from pandagpt_core.modalities.builtin.writing import MEDIA, SAMPLES, one_line
from pandagpt_core.modalities.entry import Entry, Recipe, Selection

CLIP_CHOICE = Selection(
    "clips",
    "where the clips of a long sound lie: where it is loudest, or evenly",
    ("loud", "even"),
    label="Clips of a long sound",
    otherwise="loud; a model with ImageBind's or LanguageBind's recipe takes none and has them even",
)
AUDIO = Entry(
    name="audio",
    label="sound",
    formats=one_line("""
        WAV (PCM, float, A-law, mu-law, ADPCM, GSM; also of size zero), FLAC, Ogg (Vorbis, Opus,
        Speex, FLAC), MP3 (also behind junk), AAC, M4A, AMR, AIFF, AU, CAF, W64, and the sound of a
        video's container
    """),
    reads=one_line("""
        rate, channels
    """),
    about="a sound",
    recipes=(
        Recipe(
            "imagebind-audio-v1",
            f"{MEDIA}.sound.audio",
            "imagebind",
            "[3, 1, 128, 204]",
            "the published loader: three even clips of 2 s, channel 0 alone",
            without=("clips",),
        ),
        Recipe(
            "mixed-audio-v1",
            f"{MEDIA}.sound.audio",
            "mixed",
            "[3, 1, 128, 204]",
            "three clips of 2 s where there is sound, all channels mixed (ITU-R BS.775)",
            reading=2,
        ),
        Recipe(
            "languagebind-audio-v1",
            f"{MEDIA}.sound.fused",
            "languagebind",
            "[1, 3, 112, 1036]",
            "LanguageBind: three spectrograms of 10.4 s as channels, a shorter sound repeated; channel 0 alone",
            without=("clips",),
        ),
        Recipe(
            "embedding-gemma2-audio-v1",
            f"{MEDIA}.sound.magnitudes",
            "embedding_gemma2",
            "[1, 2999, 129]",
            "EmbeddingGemma 2: the first 30 s, all channels mixed, 128 mel bins each 10 ms",
            without=("clips",),
        ),
    ),
    shown="mixed-audio-v1",
    sample=(SAMPLES, "tone"),
    parameters=(CLIP_CHOICE,),
    limits=("bytes", "seconds", "samples", "channels", "sample_rate"),
    mime=MappingProxyType(
        {
            ".wav": "audio/wav",
            ".flac": "audio/flac",
            ".ogg": "audio/ogg",
            ".mp3": "audio/mpeg",
            ".m4a": "audio/mp4",
            ".aac": "audio/aac",
            ".amr": "audio/amr",
            ".aif": "audio/aiff",
            ".aiff": "audio/aiff",
            ".au": "audio/basic",
            ".caf": "audio/x-caf",
            ".w64": "audio/x-w64",
            ".opus": "audio/ogg",
            ".spx": "audio/ogg",
        }
    ),
)
