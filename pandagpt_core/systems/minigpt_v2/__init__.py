"""MiniGPT-v2 (Chen et al. 2023): a picture is 256 rows of the prompt, tasks are identifiers, answers have boxes."""
