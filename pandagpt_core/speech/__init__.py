"""Speech to text beside a model: Whisper (Radford et al. 2023) on sounds of any length, window by window. No torch."""
