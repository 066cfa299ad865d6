"""Models as folders of verified bytes: reading, writing, finding, downloading. Needs no torch."""
