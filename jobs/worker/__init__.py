"""The worker: slots, huey's consumer, heartbeat, emergency, maintenance."""
