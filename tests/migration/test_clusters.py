"""The original on a cluster works with a prefix in braces; ours with any."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import redis

from sharq.blocking_engine import SyncEngine
from sharq.deployment import Deployment
from sharq.migration.migration import Migration, Plan
from sharq.migration.names import SWEEP_LOCK
from sharq.settings.reading import Settings
from tests.migration.old import packed
from tests.support.stores import PrivateCluster


def test_from_a_cluster_to_the_same_one(cluster: PrivateCluster, tmp_path: Path) -> None:
    client = redis.RedisCluster(host="127.0.0.1", port=cluster.ports[0])
    for at in range(250):
        client.rpush("{sms}:sms:bob", f"j{at}")
        client.hset("{sms}:payload", f"sms:bob:j{at}", packed(at))
    client.hset("{sms}:interval", "sms:bob", 10)
    client.zadd("{sms}:sms:active", {"bob:leased": 5})
    client.hset("{sms}:payload", "sms:bob:leased", packed({}))
    old = tmp_path / "old.conf"
    place = "[redis]\nconn_type = tcp_sock\nclustered = true\nhost = 127.0.0.1\n"
    place += f"port = {cluster.ports[0]}\n"
    old.write_text(place + "key_prefix = {sms}\n")
    new = tmp_path / "new.conf"
    new.write_text(place)
    engine = SyncEngine(Deployment.read(Settings.load(new)), reclaims=False)
    try:
        source = Settings.of_original(old).redis
        plan = Plan(watch=0)
        report = Migration(source, 60_000, engine, plan, str(tmp_path / "rejects")).run()
        names = Counter[str]()
        cursor = None
        while True:
            page = engine.run(engine.flows.job_page("sms", "bob", cursor, 100))
            names.update(job.job_id for job in page.jobs)
            cursor = page.cursor
            if cursor is None:
                break
    finally:
        engine.close()
    assert (report.jobs, report.leases, report.rejected) == (250, 1, 0)
    assert names == Counter(f"j{at}" for at in range(250))
    assert not client.exists("{sms}:payload")
    assert not client.exists(SWEEP_LOCK)
    client.close()
