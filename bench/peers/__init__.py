"""Other queues that do the same job as SharQ's: how each is installed, started and asked."""
