"""What the Elasticsearch store is made of: names, connection, templates, documents, reading, writing."""
