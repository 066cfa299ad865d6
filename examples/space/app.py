"""What the Space runs. `SKINXAI_DEMO_MODEL`, a variable of the Space, may name another model."""

import os

from skinxai.demo import serve

if __name__ == "__main__":
    in_space = "SPACE_ID" in os.environ  # where the page stands in a frame, behind HTTPS
    serve(address="0.0.0.0", browser=False, framed=in_space)
