"""What a file itself says of its origin: claims, which anybody can write, and which no verdict rests on."""
