"""The meaning of a medium's rows in words, beside the vector that PandaGPT projects.

A language model of 135 million parameters reads one mixed vector badly and words well. So a folder may declare that the
media's slot holds, behind each medium's soft token, a line of words: what it is, how sure that is, colours, how many
things and where. The words are made by code and calibrated numbers, not by the language model.
"""
