"""Parts of MiniGPT-v2's own training: its layout, the words of its tasks, readers of public data sets."""
