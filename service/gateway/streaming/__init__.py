"""Server-Sent Events: chunks of an answer, and the response that sends them."""
