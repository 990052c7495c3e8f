"""Writes the dashboards that pinchpoint brings to Kibana and Grafana; a tool of this repository, no part of what is installed."""
