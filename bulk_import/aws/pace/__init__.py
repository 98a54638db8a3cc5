"""When a call may be sent: quotas, limiter, pacing, places and retries."""
