"""1 data storage: declared sources, the durable log, versioned lake tables, blobs, the metadata database."""
