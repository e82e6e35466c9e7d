"""The sizes and marks of the log-mel magnitudes of `magnitudes`. A worker knows them without its decoders of sound."""

RATE, SECONDS = 16_000, 30
BINS, FRAMES = 128, 2999  # of 30 s
WINDOW, HOP, FFT, MULTIPLE = 320, 160, 512, 128
FLOOR = 1e-3
VALID, PADDED, ABSENT = 1.0, 0.0, -1.0  # the last column: of a frame within the sound, beyond it, beyond its padding
