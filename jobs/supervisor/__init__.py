"""One slot and its trial process: jobs, trials, attempts, admission and memory."""
