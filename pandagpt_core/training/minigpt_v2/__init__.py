"""Parts of MiniGPT-v2's own training: the words of its tasks, readers of public data sets."""
