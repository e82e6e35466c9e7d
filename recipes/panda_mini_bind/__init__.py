"""How models/panda-mini-bind was made: an ImageBind-LLM over panda-mini's towers and language model."""
