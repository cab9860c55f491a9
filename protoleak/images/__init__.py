"""Still images, from a file to uint8 pixels."""
