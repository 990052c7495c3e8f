"""Names by which boards refer to each other."""

INCIDENTS = "pinchpoint-board-incidents"
INCIDENT = "pinchpoint-board-incident"
GPU = "pinchpoint-board-gpu"
PIPELINE = "pinchpoint-board-pipeline"
COLLECTOR = "pinchpoint-board-collector"
