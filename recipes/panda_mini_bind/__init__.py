"""The recipe of models/panda-mini-bind: an ImageBind-LLM over panda-mini's towers and language model."""
