"""The HTTP gateway: services start cases, supervisors approve, the world is told."""
