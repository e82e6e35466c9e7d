"""The gateway's side of the broker: submit, read events, cancel, look up."""
