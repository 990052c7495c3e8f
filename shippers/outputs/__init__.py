"""Where items go: Elasticsearch, and the lake."""
