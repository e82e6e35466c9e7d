"""Conversations about readings, whose truth is exact: the language model learns to answer from a line of words.

A reading is drawn at random, names from the concepts, ImageNet's classes and COCO's kinds; every question is answered
from it alone. So the model learns to read the line and to add nothing to it, for every thing.
"""
