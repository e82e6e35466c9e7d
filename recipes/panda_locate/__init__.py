"""The recipe of models/panda-locate: a small MiniGPT-v2 that finds and counts things in pictures, made on a CPU."""
