"""What a training library calls after each step: reported, saved if due, judged; in that order."""
