"""Speculative decoding without a second model: several tokens of a sequence in one step, the answer unchanged.

A draft is what followed the sequence's last tokens when they stood in it before (prompt lookup), or what the model most
often writes after them (a table of n-grams). One step computes the logits after each of its tokens. Where the token
sampled from the logits is the draft's next one, that position is computed already (Leviathan et al. 2023, section 2.3;
here the draw at a position is a function of its seed, so that equality with the draft decides and the answer is the one
without drafts).
"""
