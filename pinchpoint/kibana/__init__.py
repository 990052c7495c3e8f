"""The dashboards of Kibana, and how they are brought there."""
