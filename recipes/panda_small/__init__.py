"""Which language model a model above panda-mini should have: questions to choose it by."""
