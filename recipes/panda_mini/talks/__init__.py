"""Talks about readings, whose truth is exact: what the language model learns to say from a line of words.

A reading is drawn at random, names from the concepts, ImageNet's classes and COCO's kinds; every question is answered
from it alone. So the model learns to read the line and to say no more than stands in it, whatever the thing is.
"""
