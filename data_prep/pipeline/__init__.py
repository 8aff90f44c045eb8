"""From a reader's table to a folder: units of work, decoding, crops, resuming, the summary."""
