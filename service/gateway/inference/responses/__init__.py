"""POST /v1/responses: its body as a conversation, and conversations kept so that a later response goes on with one."""
