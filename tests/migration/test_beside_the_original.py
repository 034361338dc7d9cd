"""The original's own code goes on while its jobs are moved.

`./build.sh bench --peers` installs it.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.migration import original_at_work
from tests.migration.new import New, each
from tests.migration.old import LEASE, Old
from tests.support.parts import PARTS

WORK = Path(original_at_work.__file__)


@pytest.mark.needs("original")
def test_its_producers_and_workers_go_on_meanwhile(old: Old, new: New, tmp_path: Path) -> None:
    config = tmp_path / "at-work.conf"
    config.write_text(
        f"[sharq]\njob_expire_interval : {LEASE}\njob_requeue_interval : 1000\n"
        "default_job_requeue_limit : -1\n[redis]\ndb : 0\nconn_type : unix_sock\n"
        f"key_prefix : {old.prefix}\nunix_socket_path : {old.store.socket_path}\n"
    )
    words = [PARTS["original"], str(WORK), str(config), str(tmp_path / "done")]
    with subprocess.Popen(words, cwd=tmp_path) as work:
        # So long may the original need for its next enqueue, on a busy machine.
        report = new.migrate(old, follow=True, quiet=8.0)
    assert work.returncode == 0
    done = json.loads((tmp_path / "done").read_text())
    came = Counter(name.rpartition("/")[2] for name in (*each(new.waiting()), *new.leased()))
    came.update(done)
    assert came == Counter(f"job-{at}" for at in range(original_at_work.JOBS))
    assert report.rejected == 0
    assert old.keys() == {}
