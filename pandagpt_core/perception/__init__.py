"""The meaning of a medium's rows in words, beside the vector that PandaGPT projects.

A language model of 135 million parameters reads one mixed vector badly and words well. So a folder may declare that the
media's slot holds, behind each medium's soft token, a line of words: its name and the name's probability, colours,
numbers of things and their places. The words are made by code and calibrated numbers, not by the language model.
"""
