"""What several tests need to run against: real stores."""
