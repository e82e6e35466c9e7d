"""What MiniGPT-v2's training has of its own: its layout, the words of its tasks, readers of public data sets."""
