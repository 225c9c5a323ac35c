"""One of several processes that race on a store: started by the tests, `racer.py URL NAME keys|journal N`."""

from __future__ import annotations

import json
import sys

from dataops.storage.journal import Journal
from dataops.storage.objects import open_store


def main(url: str, name: str, what: str, rounds: str) -> None:
    store = open_store(url)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    if what == "keys":
        # different bytes for the even keys, equal bytes for the odd ones
        said = [store.put_if_absent(f"race/{n}", (name if n % 2 == 0 else "same").encode()) for n in range(int(rounds))]
        won = [n for n, yes in enumerate(said) if yes]
    else:
        journal = Journal(store, "race", "test")
        won = [journal.append({"by": name, "n": n}).number for n in range(int(rounds))]
    sys.stdout.write(json.dumps(won))


if __name__ == "__main__":
    main(*sys.argv[1:])
