"""The five boards, in the order of their links."""

from kibana.boards import collector, gpu, incident, incidents, pipeline

BOARDS = (incidents.BOARD, incident.BOARD, gpu.BOARD, pipeline.BOARD, collector.BOARD)
