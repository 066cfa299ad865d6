"""What servers share: the HTTP protocol and who may call."""
