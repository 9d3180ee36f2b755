"""Damage files in many ways, guided by the lines that reading them reaches, and look at what loading them does.

    python fuzzed_files.py FOLDER CASES SEED KIND...

Prints one JSON object. A process of its own, because its memory is limited and it may crash.
"""

import json
import pickle
import random
import resource
import signal
import sys
import traceback
import warnings
import zipfile
from pathlib import Path

import torch
from mutations import bomb, mutated
from readable_files import KINDS

import lrscape

ROOM = 2**30  # bytes of address space that loading may take beyond what is there
LONGEST = 20  # seconds
CORPUS = 300
PACKAGE = str(Path(lrscape.__file__).parent)
READERS = (PACKAGE, zipfile.__file__)
HARMLESS = ("torch", "collections", "_codecs", "pathlib", "numpy", "datetime")
RUNS_CODE = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect", "os.mkdir",
             "os.remove", "os.rename", "ctypes.dlopen", "shutil.rmtree", "urllib.Request")  # fmt: skip


class Watch:
    """Notes what a file makes this process do."""

    def __init__(self):
        self.armed, self.found, self.lines = False, [], set()
        sys.addaudithook(self._audit)

    def _audit(self, event, arguments):
        if not self.armed:
            return
        if event in RUNS_CODE:
            self.found.append(event)
            return
        if event == "pickle.find_class":
            wrong = str(arguments[0]).split(".")[0] not in HARMLESS
        else:
            wrong = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if wrong:
            self.found.append(f"{event} {arguments}")

    def trace(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(READERS):
            return None
        self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    def _line(self, frame, event, argument):
        self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


def attempt(load, path, watch):
    """Load a file; tell what is wrong with how that ended, or "loaded" or "refused"."""
    watch.armed, watch.found = True, []
    sys.settrace(watch.trace)
    try:
        load(path)
        ended = "loaded"
    except (ValueError, FileNotFoundError) as error:
        named = path.name in str(error) or path.parent.name in str(error)
        ended = "refused" if named else f"does not name the file: {type(error).__name__}: {error}"
    except BaseException:
        sys.settrace(None)
        ended = traceback.format_exc(limit=-4)
    finally:
        sys.settrace(None)
        watch.armed = False
    return f"did {watch.found[0]}" if watch.found else ended


def late(*_):
    raise TimeoutError(f"took longer than {LONGEST} seconds")


def fuzz(kind, folder, cases, seed, watch):
    chance = random.Random(f"{kind} {seed}")
    place = folder / f"place-of-{kind}"
    place.mkdir()
    seeds, load = KINDS[kind](place)
    path = place / seeds.name
    corpus, counts, wrong = list(seeds.files), {"loaded": 0, "refused": 0}, []
    for number, content in enumerate(seeds.files):
        path.write_bytes(content)
        assert attempt(load, path, watch) == ("loaded" if number < seeds.sound else "refused"), (kind, number)
    known = set(watch.lines)
    bombs = [bomb(content, 2**29) for content in seeds.files[:1] if content[:2] == b"PK"]
    for number in range(cases):
        content = bombs[0] if number < len(bombs) else mutated(chance.choice(corpus), chance)
        path.write_bytes(content)
        signal.alarm(LONGEST)
        ended = attempt(load, path, watch)
        signal.alarm(0)
        if ended in counts:
            counts[ended] += 1
        elif len(wrong) < 5:
            wrong.append(f"case {number}: {ended}")
            (folder / f"{kind}-{number}").write_bytes(content)
        if not watch.lines <= known and number >= len(bombs) and len(corpus) < CORPUS:
            corpus.append(content)
            known |= watch.lines
        left = sorted(entry.name for entry in place.iterdir())
        assert left == seeds.folder, f"{kind}: files were left or lost: {left}"
    return {"cases": cases, **counts, "corpus": len(corpus), "lines": len(known), "wrong": wrong}


def main():
    folder, cases, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, late)
    watch, found = Watch(), {}
    sys.setrecursionlimit(1000)
    pickle.loads(pickle.dumps(torch.zeros(1)))
    for kind in sys.argv[4:] or KINDS:
        before = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        resource.setrlimit(resource.RLIMIT_AS, (before + ROOM, resource.RLIM_INFINITY))
        found[kind] = fuzz(kind, folder, cases, seed, watch)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        found[kind]["grew_mib"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    sys.stdout.write(json.dumps(found))


main()
