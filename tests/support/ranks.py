"""Run a function in several real processes that form a gloo group.

    def work(rank, ranks, factor):          # at the top level of a test module
        ...torch.distributed is initialised...
        return something that pickles

    def test_it():
        first, second = run_ranks(work, 2, 3.0)

The processes load the test module from its file, so nothing of the parent's state reaches them; they stay for the next
call with the same number of ranks, since loading torch takes longer than most tests, unless one fails. Warnings are
errors in them too. RANK, LOCAL_RANK and WORLD_SIZE are set as torchrun sets them.
"""

import atexit
import datetime
import importlib.util
import os
import pickle
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

GRACE = 10.0  # seconds that the others get once one has failed: they may only wait for it


_POOLS = {}


class Pool:
    """Processes of one gloo group, which take one job after the other."""

    def __init__(self, ranks, environment):
        self.folder = tempfile.TemporaryDirectory()
        self.processes, self.jobs = [], 0
        for rank in range(ranks):
            variables = {
                **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks),
                "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **environment,
            }  # fmt: skip
            with (self.path / f"log{rank}").open("wb") as log:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, __file__, self.folder.name], env=variables, stdin=subprocess.PIPE,
                        stdout=log, stderr=log, text=True,
                    )
                )  # fmt: skip

    @property
    def path(self):
        return Path(self.folder.name)

    def run(self, job, timeout):
        self.jobs += 1
        (self.path / f"job{self.jobs}.pkl").write_bytes(pickle.dumps(job))
        for process in self.processes:
            process.stdin.write(f"{self.jobs}\n")
            process.stdin.flush()
        results = [self.path / f"result{self.jobs}.{rank}.pkl" for rank in range(len(self.processes))]
        if not self._wait(results, timeout):
            report = "\n".join(self._report(rank, process) for rank, process in enumerate(self.processes))
            raise AssertionError(report)
        return [pickle.loads(result.read_bytes()) for result in results]

    def _wait(self, results, timeout):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if all(result.exists() for result in results):
                return True
            codes = [process.poll() for process in self.processes]
            if all(code is not None for code in codes):
                return False
            if any(code is not None for code in codes):
                end = min(end, time.monotonic() + GRACE)
            time.sleep(0.005)
        return False

    def _report(self, rank, process):
        text = (self.path / f"log{rank}").read_text(errors="replace")[-6000:]
        return f"--- rank {rank}, exit {process.poll()}\n{text}"

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()
            process.stdin.close()
        self.folder.cleanup()


def _close_all():
    while _POOLS:
        _POOLS.popitem()[1].close()


atexit.register(_close_all)


def run_ranks(function, ranks=2, *args, timeout=180.0, environment=None):
    """Call ``function(rank, ranks, *args)`` in every rank and return the results in the order of ranks.

    Raises AssertionError with every rank's traceback if one fails, dies or does not end in time.
    """
    key = (ranks, tuple(sorted((environment or {}).items())))
    pool = _POOLS.pop(key, None) or Pool(ranks, environment or {})
    try:
        found = pool.run((function.__code__.co_filename, function.__qualname__, args), timeout)
    except BaseException:
        pool.close()
        raise
    _POOLS[key] = pool
    return found


def _child(folder):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks,
        timeout=datetime.timedelta(seconds=180),
    )  # fmt: skip
    for number in map(str.strip, sys.stdin):
        file, name, args = pickle.loads((folder / f"job{number}.pkl").read_bytes())
        spec = importlib.util.spec_from_file_location("job", file)
        module = importlib.util.module_from_spec(spec)
        sys.modules["job"] = module
        spec.loader.exec_module(module)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                result = getattr(module, name)(rank, ranks, *args)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)  # leaving the group in order would wait for the others
        kept = folder / f"kept{number}.{rank}.pkl"
        kept.write_bytes(pickle.dumps(result))
        dist.barrier()
        kept.rename(folder / f"result{number}.{rank}.pkl")


if __name__ == "__main__":
    _child(Path(sys.argv[1]))
