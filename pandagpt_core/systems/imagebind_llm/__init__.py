"""ImageBind-LLM (Han et al. 2023): the media of a conversation, through a bind network, into every layer."""
