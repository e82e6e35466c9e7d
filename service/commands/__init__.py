"""One file a command; `service.cli` holds their table."""
