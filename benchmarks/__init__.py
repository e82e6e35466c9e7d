"""Each benchmark prints a Markdown table and JSON lines, and keeps them with the machine's facts and a plot."""
