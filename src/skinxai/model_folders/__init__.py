"""Models as folders of verified bytes: read, written, found, fetched, sent. No torch."""
