"""Images, opened with care and changed."""
