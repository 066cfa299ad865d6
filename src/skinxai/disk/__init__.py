"""Files: regular ones are read; they are written whole or not at all, alone or several together."""
