"""A process that records and labels cases, and prints each one once it is confirmed.

python review_writer.py URL NAME COUNT [IMAGES]: COUNT cases NAME-0, NAME-1 …, each labelled by
NAME; and a label of the case "shared" after each of them. It first waits for a line.
"""

import sys

from review_cases import case

from skinxai.errors import StoreUnavailableError
from skinxai.review import ReviewStore


def main(url: str, name: str, count: str, images: str | None = None) -> None:
    print("ready", flush=True)
    sys.stdin.readline()
    with ReviewStore.open(url, images, patience=600) as store:
        print("open", flush=True)
        again(lambda: store.record(case("shared")))  # from all, once
        for number in range(int(count)):
            own, said = f"{name}-{number}", ("mel", "nv")[number % 2]
            image = own.encode() if images else None
            again(lambda own=own, image=image: store.record(case(own, image=image)))
            again(lambda own=own: store.label(own, "mel", name))
            again(lambda said=said: store.label("shared", said, name))
            print(own, flush=True)


def again(call) -> None:
    """As programs do that want their case to be kept: until it is."""
    while True:
        try:
            return call()
        except StoreUnavailableError:
            continue


if __name__ == "__main__":
    main(*sys.argv[1:])
