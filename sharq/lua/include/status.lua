-- The words in the answers of scripts: those of sharq/results.py.
local QUEUED, DUPLICATE, CONFLICT, FULL = 'queued', 'duplicate', 'conflict', 'full'
local SUCCESS, DEAD, ACTIVE, FINISHED = 'success', 'dead', 'active', 'finished'
local EXHAUSTED, EXPIRED, REJECTED = 'exhausted', 'expired', 'rejected'
local NOT_ACTIVE, STALE_LEASE, ALREADY_FINISHED = 'not_active', 'stale_lease', 'already_finished'
local NOT_FOUND, JOB_ACTIVE, COPIED = 'not_found', 'job_active', 'copied'
