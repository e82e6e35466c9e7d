"""Examples of the endpoints for the words in a sound."""

from service.gateway.openapi.examples.table import OperationExamples, RequestExample

_USAGE = {"type": "duration", "seconds": 2.5}
_ANSWER = {"text": "The quick brown fox jumps over the lazy dog.", "usage": _USAGE}

SOUND = {
    "createTranscription": OperationExamples(
        (
            RequestExample("Words of a sound", {"file": "sound.wav", "model": "whisper-1"}),
            RequestExample(
                "With the times of words",
                {
                    "file": "sound.wav",
                    "language": "en",
                    "response_format": "verbose_json",
                    "timestamp_granularities[]": ["word", "segment"],
                },
            ),
            RequestExample("As subtitles", {"file": "sound.wav", "response_format": "vtt"}),
            RequestExample("As it is heard", {"file": "sound.wav", "stream": True}),
        ),
        _ANSWER,
        {"data": '{"type":"transcript.text.delta","delta":"The quick brown fox"}'},
        "The quick brown fox jumps over the lazy dog.\n",
    ),
    "createTranslation": OperationExamples(
        (
            RequestExample("Words of a sound, in English", {"file": "sound.wav"}),
            RequestExample("As text alone", {"file": "sound.wav", "response_format": "text"}),
        ),
        _ANSWER,
        text="The quick brown fox jumps over the lazy dog.\n",
    ),
}
